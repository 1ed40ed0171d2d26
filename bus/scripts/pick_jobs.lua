-- Take chosen jobs of a channel's stream, past others that wait before them.
--
-- KEYS  1 lease, 2 jobs
-- ARGV  1 owner, 2 fencing number, 3 group, 4 consumer (constant per partition), then ids of entries
-- Returns  {id, {field, value, …}}, … of those that are still there; or the error FENCED when the lease is lost
-- Atomic because an owner that was paused must not take a job that its successor is working.
if redis.call('GET', KEYS[1]) ~= ARGV[1] .. ' ' .. ARGV[2] then return redis.error_reply('FENCED lease lost') end
local out = {}
for i = 5, #ARGV do
  local job = redis.call('XRANGE', KEYS[2], ARGV[i], ARGV[i])[1]
  if job then
    -- As if it had been read just now: pending, and delivered once.
    redis.call('XCLAIM', KEYS[2], ARGV[3], ARGV[4], 0, ARGV[i], 'RETRYCOUNT', 1, 'FORCE')
    out[#out + 1] = job
  end
end
return out
