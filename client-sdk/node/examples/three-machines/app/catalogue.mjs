// What is for sale. The same in every process, so it is part of the program.

export const products = [
  { sku: "apples", name: "Apples", unit: "a kilo", cents: 320, mark: "🍎" },
  { sku: "pears", name: "Pears", unit: "a kilo", cents: 380, mark: "🍐" },
  { sku: "bread", name: "Rye bread", unit: "a loaf", cents: 450, mark: "🍞" },
  { sku: "cheese", name: "Mountain cheese", unit: "200 g", cents: 690, mark: "🧀" },
  { sku: "coffee", name: "Coffee", unit: "250 g", cents: 840, mark: "☕" },
  { sku: "honey", name: "Heather honey", unit: "a jar", cents: 720, mark: "🍯" },
  { sku: "carrots", name: "Carrots", unit: "a bunch", cents: 210, mark: "🥕" },
  { sku: "mushrooms", name: "Mushrooms", unit: "250 g", cents: 340, mark: "🍄" },
];

const bySku = new Map(products.map((product) => [product.sku, product]));

export const productOf = (sku) => bySku.get(sku);

export const euros = (cents) => `€ ${(cents / 100).toFixed(2)}`;
