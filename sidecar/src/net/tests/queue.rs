use std::sync::Arc;

use super::super::queue::{Pushed, Queue, Queued};
use super::{bulky, numbered};

fn len(taken: Option<Vec<Queued>>) -> Option<usize> {
    taken.map(|messages| messages.len())
}

#[tokio::test]
async fn what_is_queued_comes_out_in_portions_and_then_the_end() {
    let queue = Queue::new(1 << 20);
    for number in 0..10 {
        assert_eq!(queue.push(Arc::new(numbered(number)), None), Pushed::Queued);
    }
    let one = numbered(0).estimated_bytes();
    assert_eq!(len(queue.take(3 * one).await), Some(3));
    assert_eq!(len(queue.take(1).await), Some(1));
    queue.close();
    assert_eq!(queue.push(Arc::new(numbered(0)), None), Pushed::Closed);
    assert_eq!(len(queue.take(usize::MAX).await), Some(6));
    assert_eq!(len(queue.take(usize::MAX).await), None);
}

#[tokio::test]
async fn a_full_queue_is_dropped_and_then_has_room() {
    let one = numbered(0).estimated_bytes();
    let queue = Queue::new(3 * one);
    let pushed: Vec<Pushed> = (0..5).map(|number| queue.push(Arc::new(numbered(number)), None)).collect();
    assert_eq!(pushed[2..], [Pushed::Queued, Pushed::Overflowed, Pushed::Queued]);
    assert_eq!(len(queue.take(usize::MAX).await), Some(1));
}

#[tokio::test]
async fn one_message_of_any_size_has_room_in_an_empty_queue() {
    let queue = Queue::new(100);
    assert_eq!(queue.push(Arc::new(bulky(10_000)), None), Pushed::Queued);
    assert_eq!(queue.push(Arc::new(numbered(1)), None), Pushed::Overflowed);
}

#[tokio::test]
async fn a_queue_that_is_emptied_ends_at_once() {
    let queue = Queue::new(1 << 20);
    queue.push(Arc::new(numbered(1)), None);
    queue.close_empty();
    assert_eq!(len(queue.take(usize::MAX).await), None);
}

/// Whoever is woken runs next on the worker that woke it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_tasks_that_are_ready_queue_goes_along() {
    let all = tokio::spawn(async {
        let queue = Arc::new(Queue::new(1 << 20));
        let theirs = Arc::clone(&queue);
        let taker = tokio::spawn(async move { len(theirs.take(usize::MAX).await) });
        // It waits by now.
        tokio::task::yield_now().await;
        for number in 0..10 {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move { queue.push(Arc::new(numbered(number)), None) });
        }
        taker.await.unwrap()
    });
    assert_eq!(all.await.unwrap(), Some(10));
}
