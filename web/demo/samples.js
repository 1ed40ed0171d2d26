/** What is sent when the fields are empty: something that could have happened. */

/** @type {readonly (readonly [type: string, title: string, body: string])[]} */
const SAMPLES = [
  ["order.shipped", "Your parcel is on its way", "Two boxes, expected tomorrow before noon."],
  ["door.bell", "Someone is at the door", "The camera sees a person with a very large plant."],
  ["build.failed", "Build 4127 failed", "3 of 1,204 tests, all in the module that nobody touched."],
  ["train.delayed", "The 17:42 leaves at 17:58", "Platform 6 instead of 4."],
  ["payment.received", "Invoice 1038 has been paid", "1,240.00 from Harbour & Sons."],
  ["tide.high", "High water at 03:14", "4.6 m at the south gate; barrier closes at 02:30."],
  ["review.asked", "Mina asks for a review", "“Close the outbox before the socket”, 41 lines."],
  ["oven.ready", "The oven has reached 220 °C", "The bread is still in the basket."],
  ["login.new", "New sign-in from Lisbon", "Firefox on Linux, 2 minutes ago. Was it you?"],
  ["match.goal", "Goal!", "Rovers 2, United 1, in the 88th minute."],
];

let next = 0;

/** The one to suggest now. */
export function suggestion() {
  const [type, title, body] = SAMPLES[next % SAMPLES.length] ?? ["note", "Hello", ""];
  return { type, title, body };
}

/** On to the next one, round and round. */
export function suggestAnother() {
  next += 1;
}
