-- Open a request that carries an Idempotency-Key.
--
-- KEYS  1 idempotency
-- ARGV  1 fingerprint of the body, 2 how long a request may be in progress (ms), 3 ttl (s)
-- Returns  {"new"}, {"busy"} (the same request is in progress), {"other"} (same key, another body),
--          or {"done", answer}
-- Atomic because two requests with one key that arrive together must not both be new. The fingerprint outlives a
-- request that broke off, so that no other body can take its key over and be given its events.
local state = redis.call('HMGET', KEYS[1], 'fingerprint', 'answer', 'until')
if state[1] and state[1] ~= ARGV[1] then return {'other'} end
if state[2] then return {'done', state[2]} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if state[3] and now < tonumber(state[3]) then return {'busy'} end
redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'until', string.format('%.0f', now + ARGV[2]))
redis.call('EXPIRE', KEYS[1], ARGV[3])
return {'new'}
