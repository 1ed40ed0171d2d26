// The unmodified JavaScript SDK, played by remote control: each line of stdin is a command, each line of stdout an
// event or the answer to a command. What to do, and what is right, the test knows.
//
// usage: node driver.mjs '{"transport", "endpoint", "emulation", "token"}'

import {createInterface} from 'node:readline';
import {Centrifuge} from 'centrifuge';
import {EventSource} from 'eventsource';
import {WebSocket} from 'ws';

const options = JSON.parse(process.argv[2]);
const tell = (event, details = {}) => process.stdout.write(`${JSON.stringify({event, ...details})}\n`);

// Tokens are asked for like everything else, and come with the next command `token`.
const wanted = [];
const getToken = () => new Promise((resolve) => {
  wanted.push(resolve);
  tell('token_wanted');
});

const client = new Centrifuge([{transport: options.transport, endpoint: options.endpoint}], {
  token: options.token,
  getToken,
  websocket: WebSocket,
  eventsource: EventSource,
  fetch: globalThis.fetch,
  readableStream: globalThis.ReadableStream,
  emulationEndpoint: options.emulation,
  minReconnectDelay: 50,
  maxReconnectDelay: 300,
});

client.on('connecting', ({code}) => tell('connecting', {code}));
client.on('connected', (context) => tell('connected', {client: context.client, transport: context.transport}));
client.on('disconnected', ({code}) => tell('disconnected', {code}));
client.on('error', ({error}) => tell('error', {code: error.code}));
client.on('subscribed', ({channel, wasRecovering, recovered}) => tell('subscribed', {channel, wasRecovering, recovered}));
client.on('publication', ({channel, offset, data}) => tell('publication', {channel, offset, data}));

const listen = (subscription) => {
  const channel = subscription.channel;
  subscription.on('subscribed', ({wasRecovering, recovered}) => tell('subscribed', {channel, wasRecovering, recovered}));
  subscription.on('unsubscribed', ({code}) => tell('unsubscribed', {channel, code}));
  subscription.on('error', ({error}) => tell('error', {channel, code: error.code}));
  subscription.on('publication', ({offset, data, info}) => {
    tell('publication', {channel, offset, data, ...(info && {user: info.user})});
  });
  subscription.on('join', ({info}) => tell('join', {channel, user: info.user}));
  subscription.on('leave', ({info}) => tell('leave', {channel, user: info.user}));
};

const users = (clients) => Object.values(clients).map(({user}) => user).sort();

const actions = {
  connect: async () => client.connect(),
  disconnect: async () => client.disconnect(),
  token: async ({token}) => wanted.shift()(token),
  subscribe: async ({channel}) => {
    const subscription = client.newSubscription(channel);
    listen(subscription);
    subscription.subscribe();
  },
  unsubscribe: async ({channel}) => client.getSubscription(channel).unsubscribe(),
  publish: async ({channel, data}) => client.publish(channel, data),
  presence: async ({channel}) => users((await client.presence(channel)).clients),
  presence_stats: async ({channel}) => client.presenceStats(channel),
  history: async ({channel, limit}) => {
    const {publications} = await client.history(channel, {limit});
    return publications.map(({offset, data}) => ({offset, data}));
  },
  rpc: async ({method, data}) => (await client.rpc(method, data)).data,
};

for await (const line of createInterface({input: process.stdin})) {
  const {id, action, ...details} = JSON.parse(line);
  actions[action](details).then(
    (result) => tell('done', {id, result: result ?? null}),
    (error) => tell('failed', {id, code: error.code}),
  );
}
process.exit(0);
