-- Send what a digest has gathered as one message, or put it off, and tell of each event in it what became of it.
--
-- KEYS  1 lease, 2 timers, 3 digest, 4 digests, 5 inbox, 6 meta, 7 unread, 8 trail, 9 jobs of the channel; then of each
--       event: withdrawn, counts
-- ARGV  1 owner, 2 fencing number, 3 timer, 4 ttl of trail and counts (s), 5 channel, 6 name of the digest in `digests`,
--       7 until when it is put off (Unix ms; "" it is not), 8 how many events it holds, then of each, oldest first:
--       escaped reference, offset in the inbox (0: none), what makes it unnecessary ("" nothing, or it is not sent), kind
--       for the trail, reason, state to count, how many to count; then for each job: how many fields and values, then
--       these
-- Returns  1; 0 when it is no longer due, or when one that would be sent was meanwhile withdrawn, acked or read: nothing is
--          done then; or the error FENCED when the lease is lost
-- Atomic because a crash within would lose the digest or send it twice.
if redis.call('GET', KEYS[1]) ~= ARGV[1] .. ' ' .. ARGV[2] then return redis.error_reply('FENCED lease lost') end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZSCORE', KEYS[2], ARGV[3])
if not due or tonumber(due) > now then return 0 end

--#include unnecessary

local held = tonumber(ARGV[8])
for i = 0, held - 1 do
  local _, offset, unless, kind = unpack(ARGV, 9 + 7 * i, 12 + 7 * i)
  if kind == 'queued' and redis.call('EXISTS', KEYS[10 + 2 * i]) == 1 then return 0 end
  if kind == 'queued' and unnecessary(KEYS[5], KEYS[6], KEYS[7], unless, tonumber(offset)) then return 0 end
end

for i = 0, held - 1 do
  local ref, _, _, kind, reason, state, number = unpack(ARGV, 9 + 7 * i, 15 + 7 * i)
  local counts = KEYS[11 + 2 * i]
  redis.call('XADD', KEYS[8], 'MAXLEN', '~', 4000, '*', 'e', ref, 'k', kind, 'c', ARGV[5], 'r', reason, 'n', '0')
  redis.call('HINCRBY', counts, ARGV[5] .. ':' .. state, number)
  if redis.call('TTL', counts) < 0 then redis.call('EXPIRE', counts, ARGV[4]) end
end
if held > 0 then redis.call('EXPIRE', KEYS[8], ARGV[4]) end
if ARGV[7] ~= '' then
  redis.call('ZADD', KEYS[2], ARGV[7], ARGV[3])
  redis.call('PEXPIREAT', KEYS[3], string.format('%.0f', ARGV[7] + 604800000))
  redis.call('PEXPIREAT', KEYS[4], string.format('%.0f', ARGV[7] + 604800000))
  return 1
end

local at = 9 + 7 * held
while at <= #ARGV do
  redis.call('XADD', KEYS[9], '*', unpack(ARGV, at + 1, at + ARGV[at]))
  at = at + 1 + ARGV[at]
end
redis.call('LTRIM', KEYS[3], held, -1)
if redis.call('EXISTS', KEYS[3]) == 1 then
  -- More than one message may tell of: the rest is the next one.
  redis.call('ZADD', KEYS[2], string.format('%.0f', now), ARGV[3])
else
  redis.call('ZREM', KEYS[2], ARGV[3])
  redis.call('SREM', KEYS[4], ARGV[6])
end
return 1
