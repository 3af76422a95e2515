(function () {
  var tip = document.createElement('div');
  tip.className = 'tip';
  document.body.appendChild(tip);
  document.querySelectorAll('figure.plot').forEach(function (figure) {
    var data = JSON.parse(figure.querySelector('script').textContent);
    var svg = figure.querySelector('svg'), cursor = figure.querySelector('.cursor');
    svg.addEventListener('pointermove', function (event) {
      var box = svg.getBoundingClientRect();
      var at = (event.clientX - box.left) / box.width * data.width;
      var t = (at - data.left) / (data.right - data.left) * data.end;
      var best = 0;
      data.x.forEach(function (x, i) { if (Math.abs(data.x[best] - t) > Math.abs(x - t)) best = i; });
      var x = data.left + data.x[best] / data.end * (data.right - data.left);
      cursor.setAttribute('x1', x);
      cursor.setAttribute('x2', x);
      cursor.style.visibility = 'visible';
      tip.textContent = data.x[best].toFixed(1) + ' s\n' + data.series.map(function (series) {
        var value = series[1][best];
        return series[0] + ': ' + (value === undefined ? 'over' : value.toLocaleString('en')) + ' ' + data.unit;
      }).join('\n');
      tip.style.display = 'block';
      var wide = event.clientX > innerWidth - tip.offsetWidth - 30;
      tip.style.left = (wide ? event.clientX - tip.offsetWidth - 14 : event.clientX + 14) + 'px';
      tip.style.top = (event.clientY + 14) + 'px';
    });
    svg.addEventListener('pointerleave', function () {
      cursor.style.visibility = 'hidden';
      tip.style.display = 'none';
    });
  });
}());
