-- Put a dead letter of the senders back at the end of its channel's jobs, with all its attempts before it.
--
-- KEYS  1 dead, 2 jobs, 3 trail, or dead again for none
-- ARGV  1 id of the dead letter, 2 channel, 3 least time it shall have (ms), 4 escaped event reference, 5 ttl of a
--       trail that has none (s)
-- Returns  the job's new id in the stream, or nil when there is no such dead letter
-- Atomic because a crash between the two would lose the job or send it twice. The job keeps its own id, by which the
-- provider knows a repeat.
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not found then return false end
if #found[2] <= 8 then return redis.error_reply('EMPTY nothing was kept of that job') end
local time = redis.call('TIME')
local least = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[3]
local fields = {unpack(found[2], 9)}
for i = 1, #fields, 2 do
  if fields[i] == 'w' then fields[i + 1] = '' end
  if fields[i] == 'n' then fields[i + 1] = '0' end
  -- Whoever sends it again wants it to arrive, though its time may be over.
  if fields[i] == 'x2' and tonumber(fields[i + 1]) ~= 0 then
    fields[i + 1] = string.format('%.0f', math.max(least, tonumber(fields[i + 1])))
  end
end
local id = redis.call('XADD', KEYS[2], '*', unpack(fields))
redis.call('XDEL', KEYS[1], ARGV[1])
if KEYS[3] ~= KEYS[1] then
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', 4000, '*',
    'e', ARGV[4], 'k', 'queued', 'c', ARGV[2], 'r', 'sent again by hand', 'n', '0')
  if redis.call('TTL', KEYS[3]) < 0 then redis.call('EXPIRE', KEYS[3], ARGV[5]) end
end
return id
