-- What a sender must know just before it sends: of the event, of the person, of the target.
--
-- KEYS  1 withdrawn, 2 meta, 3 unread, 4 inbox, 5 profile, 6 preferences, 7 hash of the target: the person's devices or
--       profile, then the body of each event; more than these may follow (see bus/pipe/routing.py)
-- ARGV  1 offset in the inbox (0: none), 2 escaped event reference that stands there, 3 field of the target's hash
--       ("" none), 4 field that says which value of it is gone ("" none), 5 field that says since when it has only failed
--       ("" none), 6 number of events, 7 "1": without their JSON, which the caller has read (absent: with it)
-- Returns  {1 when withdrawn else 0, acknowledged ranges, 1 when read else 0, the target, the value that is gone, since
--          when it has only failed, locale, time zone, name, preferences, {event as JSON, 1 when withdrawn else 0, what
--          is left of a withdrawn event as JSON}, …}; what is not there, or not wanted, is ''
-- Atomic because it is one moment that is judged: nothing is written.
local withdrawn = redis.call('EXISTS', KEYS[1])
local acked, read = '', 0
if ARGV[1] ~= '0' then
  acked = redis.call('HGET', KEYS[2], 'acked') or ''
  local offset = ARGV[1] .. '-0'
  local entry = redis.call('XRANGE', KEYS[4], offset, offset)[1]
  -- What the inbox no longer holds counts as not read.
  if entry and entry[2][2] == ARGV[2] and not redis.call('ZSCORE', KEYS[3], ARGV[1]) then read = 1 end
end
local function of_target(field) return field ~= '' and redis.call('HGET', KEYS[7], field) or '' end
local profile = redis.call('HMGET', KEYS[5], 'locale', 'timezone', 'name')
local preferences = redis.call('HGET', KEYS[6], 'doc') or ''
local out = {withdrawn, acked, read, of_target(ARGV[3]), of_target(ARGV[4]), of_target(ARGV[5]), profile[1] or '',
  profile[2] or '', profile[3] or '', preferences}
local wanted = ARGV[7] == '1' and {'w', 'c'} or {'w', 'c', 'e'}
for i = 8, 7 + ARGV[6] do
  local body = redis.call('HMGET', KEYS[i], unpack(wanted))
  out[#out + 1] = {body[3] or '', body[1] and 1 or 0, body[2] or ''}
end
return out
