/** What a person may ask about themselves, besides their inbox: preferences, devices, topics they follow. */

/**
 * @typedef {(method: string, params: Record<string, unknown>) => Promise<any>} Rpc
 *
 * @typedef {object} QuietHours
 * @property {string} from such as `22:00`
 * @property {string} to
 * @property {string[]} [channels]
 * @property {number[]} [days] 0 is Monday
 *
 * @typedef {object} Preferences
 * @property {string} [locale]
 * @property {string} [timezone]
 * @property {Record<string, boolean>} [channels]
 * @property {Record<string, boolean | Record<string, boolean>>} [categories]
 * @property {QuietHours | null} [quiet_hours]
 * @property {Record<string, Record<string, "off" | {window: number, max: number}>>} [digest] window: seconds
 *
 * @typedef {object} CategoryChoice
 * @property {string} name
 * @property {string} title
 * @property {boolean} required
 * @property {Record<string, {on: boolean, locked: boolean}>} channels
 *
 * @typedef {{preferences: Preferences, categories: CategoryChoice[], channels: string[]}} Choices
 */

/** @param {Rpc} rpc */
export function preferencesBy(rpc) {
  return {
    /** @returns {Promise<Choices>} */
    get: () => rpc("prefs.get", {}),
    /**
     * @param {Record<string, unknown>} patch merged into the preferences (RFC 7396): null takes a member away
     * @returns {Promise<Choices>}
     */
    set: (patch) => rpc("prefs.set", patch),
  };
}

/** @param {Rpc} rpc */
export function devicesBy(rpc) {
  return {
    /** @returns {Promise<{devices: Record<string, unknown>[]}>} */
    list: () => rpc("devices.list", {}),
    /** @param {Record<string, unknown>} device its provider, target and keys */
    add: (device) => rpc("devices.add", device),
    /** @param {string} id */
    remove: (id) => rpc("devices.remove", { id }),
    /** @returns {Promise<string | null>} the key a browser subscribes with (RFC 8292); null: no Web Push here */
    key: async () => (await rpc("devices.key", {})).webpush ?? null,
  };
}

/** @param {Rpc} rpc */
export function followsBy(rpc) {
  return {
    /** @returns {Promise<{topics: string[]}>} */
    list: () => rpc("topics.list", {}),
    /** @param {string} topic */
    follow: (topic) => rpc("topics.follow", { topic }),
    /** @param {string} topic */
    unfollow: (topic) => rpc("topics.unfollow", { topic }),
  };
}
