// The flight that was most late, over a typed array on the file.
const delays = flights.column("delay").values;
export const rows = flights.numRows;

export let total_delay = 0;
let latest = 0;
for (let i = 0; i < rows; i++) {
  total_delay += delays[i];
  if (delays[i] > delays[latest]) latest = i;
}
export const longest = flights.get(latest);

const hours = Math.floor(longest.delay / 60);
console.log(`row ${latest}: ${hours} h ${longest.delay % 60} min late over ${longest.distance} miles`);
