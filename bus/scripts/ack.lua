-- Acknowledge entries in order, move the checkpoint, and trim what was acknowledged a while ago.
--
-- KEYS  1 lease, 2 events, 3 head
-- ARGV  1 owner, 2 fencing number, 3 group, 4 how long acknowledged entries stay (ms), then entry ids, oldest first
-- Returns  how many were acknowledged, or the error FENCED when the lease is lost
-- Atomic because a paused owner must neither acknowledge nor trim what its successor is working.
if redis.call('GET', KEYS[1]) ~= ARGV[1] .. ' ' .. ARGV[2] then return redis.error_reply('FENCED lease lost') end
local acked = redis.call('XACK', KEYS[2], ARGV[3], unpack(ARGV, 5))
local last = ARGV[#ARGV]
redis.call('HSET', KEYS[3], 'acked', last)
redis.call('HDEL', KEYS[3], 'entry', 'attempts')
local time = redis.call('TIME')
local horizon = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[4]
horizon = math.min(horizon, tonumber(string.match(last, '^%d+')))
if horizon > 0 then redis.call('XTRIM', KEYS[2], 'MINID', '~', string.format('%.0f-0', horizon)) end
return acked
