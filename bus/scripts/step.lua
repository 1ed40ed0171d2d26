-- Take a step that is due, pass it over, or put it off: the jobs or the place in a digest, the next timer, and what is
-- told of it.
--
-- KEYS  1 lease, 2 timers, 3 withdrawn, 4 inbox, 5 meta, 6 unread, 7 trail, 8 counts, 9 jobs of the channel,
--       10 digest, 11 digests
-- ARGV  1 owner, 2 fencing number, 3 timer, 4 escaped event reference, 5 ttl of trail and counts (s),
--       6 what makes the step unnecessary (acked, read, "" nothing), 7 offset in the inbox (0: none),
--       8 kind for the trail, 9 channel, 10 reason, 11 state to count ("" none), 12 how many to count,
--       13 next timer ("" none), 14 its wait (ms), 15 its time (Unix ms; "" the wait counts from now),
--       16 entry for the digest ("" none), 17 timer of the digest, 18 its window (ms), 19 most events in one, 20 name of
--       the digest in `digests`, then for each job: how many fields and values, then these
-- Returns  1; 0 when the step is no longer due, or when there is something to send and meanwhile it was withdrawn, acked
--          or read: nothing is done then; or the error FENCED when the lease is lost
-- Atomic because a crash within would lose the step or take it twice, and because an ack between the decision and this
-- must still stop it.
if redis.call('GET', KEYS[1]) ~= ARGV[1] .. ' ' .. ARGV[2] then return redis.error_reply('FENCED lease lost') end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZSCORE', KEYS[2], ARGV[3])
if not due or tonumber(due) > now then return 0 end

--#include unnecessary

local sends = #ARGV > 20 or ARGV[16] ~= ''
if sends and redis.call('EXISTS', KEYS[3]) == 1 then return 0 end
if sends and unnecessary(KEYS[4], KEYS[5], KEYS[6], ARGV[6], tonumber(ARGV[7])) then return 0 end

-- First, for a key of another type refuses the whole only before anything is done.
redis.call('XADD', KEYS[7], 'MAXLEN', '~', 4000, '*', 'e', ARGV[4], 'k', ARGV[8], 'c', ARGV[9], 'r', ARGV[10], 'n', '0')
redis.call('EXPIRE', KEYS[7], ARGV[5])
if ARGV[11] ~= '' then
  redis.call('HINCRBY', KEYS[8], ARGV[9] .. ':' .. ARGV[11], ARGV[12])
  if redis.call('TTL', KEYS[8]) < 0 then redis.call('EXPIRE', KEYS[8], ARGV[5]) end
end

local at = 21
while at <= #ARGV do
  redis.call('XADD', KEYS[9], '*', unpack(ARGV, at + 1, at + ARGV[at]))
  at = at + 1 + ARGV[at]
end

if ARGV[16] ~= '' then
  local gathered = redis.call('RPUSH', KEYS[10], ARGV[16])
  local window, keep = tonumber(ARGV[18]), math.ceil(ARGV[18] / 1000) + 604800
  redis.call('EXPIRE', KEYS[10], keep)
  redis.call('SADD', KEYS[11], ARGV[20])
  redis.call('EXPIRE', KEYS[11], math.max(keep, redis.call('TTL', KEYS[11])))
  if gathered == tonumber(ARGV[19]) then
    redis.call('ZADD', KEYS[2], string.format('%.0f', now), ARGV[17])
  else
    redis.call('ZADD', KEYS[2], 'NX', string.format('%.0f', now + window), ARGV[17])
  end
end

redis.call('ZREM', KEYS[2], ARGV[3])
if ARGV[13] ~= '' then
  local moment = ARGV[15]
  if moment == '' then moment = string.format('%.0f', now + ARGV[14]) end
  redis.call('ZADD', KEYS[2], moment, ARGV[13])
end
return 1
