// What is for sale. The same in every process, so it is part of the program.

export const products = [
  { sku: "apples", name: "Apples", unit: "a kilo", cents: 320, hue: 0 },
  { sku: "pears", name: "Pears", unit: "a kilo", cents: 380, hue: 75 },
  { sku: "bread", name: "Rye bread", unit: "a loaf", cents: 450, hue: 32 },
  { sku: "cheese", name: "Mountain cheese", unit: "200 g", cents: 690, hue: 48 },
  { sku: "coffee", name: "Coffee", unit: "250 g", cents: 840, hue: 18 },
  { sku: "honey", name: "Heather honey", unit: "a jar", cents: 720, hue: 40 },
  { sku: "carrots", name: "Carrots", unit: "a bunch", cents: 210, hue: 24 },
  { sku: "mushrooms", name: "Mushrooms", unit: "250 g", cents: 340, hue: 300 },
];

const bySku = new Map(products.map((product) => [product.sku, product]));

export const productOf = (sku) => bySku.get(sku);

export const euros = (cents) => `€ ${(cents / 100).toFixed(2)}`;
