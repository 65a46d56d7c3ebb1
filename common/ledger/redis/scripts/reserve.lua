-- Notes the job as waiting and decides whether it gets a slot: ledger_rule_reserve on the counts as
-- they are now, then the launch rate; the VM's row, its counts and the tokens come together.
-- Two lists of writes come with it: what the job's waiting changes, and what the new VM changes.
local RESERVED, SATISFIED, OBSOLETE, FULL_FLEET, FULL_CLASS, FULL_REPOSITORY, RATE, FULL_TARGET =
  0, 1, 2, 3, 4, 5, 6, 7
local job, vm, pair, class, repository, target = arg(), arg(), arg(), arg(), arg(), arg()
local spare = number()
local waits = arg() == '1'
local without_job = tonumber(job) == 0
local cap_fleet, cap_class, cap_repository, cap_target = number(), number(), number(), number()
local names = {arg(), arg()}
local rates = {{per_second = number(), burst = number()}, {per_second = number(), burst = number()}}
local most, first = number(), number()

local moved = moved_on()
if moved then
  return moved
end
if redis.call('HEXISTS', root .. 'vms', vm) == 1 then
  return {int(now), 'taken'}
end
apply()

local demand, supply = count('demand', pair), count('supply', pair)
local fleet_used, class_used = count('meta', 'fleet'), count('slots', class)
local repository_used, target_used = count('repositories', repository), count('targets', target)
local wait, rate = 0, nil

local function decide()
  -- A job that ran on a VM launched for another leaves that other one waiting, whose own
  -- message may be gone: this message launches a VM for it.
  if demand + spare <= supply then
    return waits and SATISFIED or OBSOLETE
  elseif fleet_used >= cap_fleet then
    return FULL_FLEET
  elseif class_used >= cap_class then
    return FULL_CLASS
  elseif cap_repository > 0 and repository_used >= cap_repository then
    return FULL_REPOSITORY
  elseif cap_target > 0 and target_used >= cap_target then
    return FULL_TARGET
  end
  rate = launch_rate(names, rates)
  wait = rate.wait
  return wait > 0 and RATE or RESERVED
end

local outcome = decide()
if outcome == RESERVED then
  for i = 1, 2 do
    bucket_spend(rate[i], rates[i].per_second, 1)
  end
  apply()
end
if rate and (outcome == RESERVED or rate.set_back) then
  launch_rate_save(names, rates, rate)
end

-- Every cause of waiting is logged once, however often the message comes back. The line holds the
-- numbers; messages.c makes the sentence of them when it is read.
local function already_logged(bit)
  local waits_logged = count('waits_logged', job)
  return math.floor(waits_logged / bit) % 2 == 1, waits_logged
end

local function log_outcome()
  local numbers = {
    [RESERVED] = {demand, supply, int(spare)},
    [SATISFIED] = {demand, supply, ''},
    [FULL_FLEET] = {fleet_used, cap_fleet, ''},
    [FULL_CLASS] = {class_used, cap_class, class},
    [FULL_REPOSITORY] = {repository_used, cap_repository, repository},
    [RATE] = {wait, 0, class},
    [FULL_TARGET] = {target_used, cap_target, class},
  }
  local n = numbers[outcome]
  local text = table.concat({'r' .. outcome, int(n[1]), int(n[2]), n[3], target}, '\0')
  if without_job then
    -- Only the new VM has a timeline.
    if outcome == RESERVED then
      log_line(root .. 'lines:v:' .. vm, most, first, '0', vm, text)
    end
    return
  end
  if outcome == RESERVED or outcome == SATISFIED then
    redis.call('HDEL', root .. 'waits_logged', job)
  else
    local already, waits_logged = already_logged(2 ^ outcome)
    if already then
      return
    end
    redis.call('HSET', root .. 'waits_logged', job, int(waits_logged + 2 ^ outcome))
  end
  log_line(root .. 'lines:j:' .. job, most, first, job, outcome == RESERVED and vm or '', text)
end

if outcome ~= OBSOLETE then
  log_outcome()
end
return {int(now), 'done', outcome, int(wait), demand, supply}
