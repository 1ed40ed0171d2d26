-- Note who has a push target now: whoever registered it last.
--
-- KEYS  1 index
-- ARGV  1 user
-- Returns  the users who had it before and may still have it
-- Atomic because of two who register it at once the later must see the earlier. The field without a name says who has it.
redis.call('HSET', KEYS[1], '', ARGV[1], ARGV[1], '1')
local others = {}
for _, user in ipairs(redis.call('HKEYS', KEYS[1])) do
  if user ~= '' and user ~= ARGV[1] then others[#others + 1] = user end
end
return others
