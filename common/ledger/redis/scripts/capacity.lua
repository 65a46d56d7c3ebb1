-- What a worker checks before it receives a message.
local class = arg()
local names = {arg(), arg()}
local rates = {{per_second = number(), burst = number()}, {per_second = number(), burst = number()}}
local rate = launch_rate(names, rates)
-- A bucket that was empty when the clock was set back would else not fill again before the clock is
-- where it had been.
if rate.set_back then
  launch_rate_save(names, rates, rate)
end
return {int(now), 'done', count('meta', 'fleet'), count('slots', class), int(rate.wait)}
