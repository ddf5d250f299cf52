/**
 * Who votes in a group, and who leads it: what its leader does about it, as a pure core. `step(roles, event)` returns at
 * most one effect: a change of the configuration, or a transfer of the lead. The next comes when that one has ended.
 *
 *   spare ──chosen, stable for STABLE_MS──▶ learner ──caught up──▶ voter, in one joint change with whom it replaces
 *                                              └── not within CATCH_UP_MS ──▶ spare, not tried again for a while
 *   voter ──lost for REPLACE_MS, draining, removed, or another does better for long──▶ replaced; or handed over, if it leads
 *
 * Each look compares who should vote (targets.ts) with who does. Nothing is remembered of a plan but who was chosen for
 * it, so a step that failed, or a leader that went in the middle, costs a look and no more.
 *
 * Invariants: a voter goes only in the change that brings its replacement, unless the target has become smaller or the
 * mesh has removed it. After each change the voters in sight are a majority. No change puts a majority behind one site or
 * uplink that was not there before, while the target has room for less (`Target.caps`).
 */
import type { ConfigurationChange } from '../raft/types.ts'
import type { Candidate } from './candidate.ts'
import { type Event, type Plan, planOf, type Roles } from './plan.ts'
import { type Placing, placeLeader } from './placing.ts'
import { see } from './sights.ts'
import { mostOf } from './spread.ts'

/** A learner that has not caught up in this time gives way to another: the largest snapshot takes it 10 Mbit/s. */
export const CATCH_UP_MS = 120_000
/** And is not chosen again for this long, doubling with each time. */
const GIVEN_UP_MS = { min: 60_000, max: 3_600_000 }
/** A change or a transfer that nobody reported the end of. */
const IN_FLIGHT_MS = 10_000
/** Changes of one entry: the core takes 14 (two for each voter); learners come and go in lists of this. */
const CHANGES_MAX = 14

export type Effect =
  | { readonly kind: 'change'; readonly why: string; readonly change: ConfigurationChange }
  | { readonly kind: 'transfer'; readonly why: string; readonly to: string }

export function step(roles: Roles, event: Event): Effect[] {
  if (event.kind === 'ended') {
    roles.inFlightMs = undefined
    return []
  }
  const { nowMs, candidates, members } = event
  see(roles.sights, candidates, nowMs)
  if (members.votersOutgoing.length > 0) return []
  if (roles.inFlightMs !== undefined && nowMs - roles.inFlightMs < IN_FLIGHT_MS) return []
  const plan = planOf(roles, event)
  const effect =
    handOver(roles, plan) ??
    replace(roles, plan) ??
    bring(roles, plan) ??
    tidy(roles, plan) ??
    place(roles, plan)
  if (effect === undefined) return []
  roles.inFlightMs = nowMs
  return [effect]
}

/** The lead goes before the vote does, and before a drain or a planned stop. */
function handOver(roles: Roles, { look, going, byMember }: Plan): Effect | undefined {
  const { self, members, nowMs } = look
  const own = byMember.get(self)
  if (!going.includes(self) && own?.leaving !== true) return undefined
  const heirs = members.voters
    .flatMap((member) => byMember.get(member) ?? [])
    .filter(
      (each) =>
        each.member !== self &&
        each.reachable &&
        each.caughtUp &&
        !each.draining &&
        !each.leaving &&
        !each.noVote,
    )
  const heir = nextHeir(roles.placing, heirs, going, nowMs)
  if (heir === undefined) return undefined
  return { kind: 'transfer', to: heir, why: roles.doubts.get(self)?.why ?? 'draining' }
}

/** Who stays before who goes too; whoever was tried last comes last. */
function nextHeir(
  placing: Placing,
  heirs: readonly Candidate[],
  going: readonly string[],
  nowMs: number,
): string | undefined {
  const tried = (member: string): number => placing.tried.get(member) ?? 0
  const [heir] = heirs
    .map(({ member }) => member)
    .toSorted(
      (a, b) =>
        Number(going.includes(a)) - Number(going.includes(b)) || tried(a) - tried(b) || (a < b ? -1 : 1),
    )
  if (heir !== undefined) placing.tried.set(heir, nowMs)
  return heir
}

/** Learners that have caught up begin to vote, and those they replace stop, in one change. */
function replace(roles: Roles, plan: Plan): Effect | undefined {
  const { look, coming, growth } = plan
  const { self, members } = look
  // It cannot go while it leads: the lead is handed over first, if need be to who replaces it.
  const going = plan.going.filter((member) => member !== self)
  const ready = coming.filter(({ member, caughtUp }) => caughtUp && members.learners.includes(member))
  const standsIn = plan.going.includes(self) && members.voters.length === 1
  const tries: (readonly [come: number, go: number])[] =
    ready.length === coming.length
      ? [[ready.length, standsIn ? 0 : Math.min(going.length, ready.length - growth)]]
      : []
  for (let pairs = Math.min(ready.length, going.length); pairs > 0; pairs--) tries.push([pairs, pairs])
  for (const [come, go] of tries) {
    const effect = swap(roles, plan, ready.slice(0, come), going.slice(0, go), standsIn)
    if (effect !== undefined) return effect
  }
  return undefined
}

function swap(
  roles: Roles,
  { look, target, byMember, learners }: Plan,
  come: readonly Candidate[],
  go: readonly string[],
  standsIn: boolean,
): Effect | undefined {
  const { voters } = look.members
  if (come.length + go.length === 0) return undefined
  const after = [...voters.filter((member) => !go.includes(member)), ...come.map(({ member }) => member)]
  const mustGo = go.every((member) => roles.doubts.get(member)?.why === 'removed')
  if (after.length % 2 === 0 && !standsIn && !mustGo) return undefined
  const live = after.filter((member) => member === look.self || byMember.get(member)?.reachable === true)
  if (live.length * 2 <= after.length) return undefined
  const places = (list: readonly string[]): Candidate[] =>
    list.flatMap((member) => byMember.get(member) ?? [])
  const worse = (['site', 'uplink'] as const).some(
    (by) => mostOf(places(after), by) > Math.max(target.caps[by], mostOf(places(voters), by)),
  )
  if (worse) return undefined
  const stays = (member: string): boolean => byMember.has(member) && learners > 0
  return change(
    why('vote', [...come.map(({ member }) => `+${member}`), ...go.map((member) => `-${member}`)]),
    [
      ...come.map(({ member }) => ({ kind: 'add-node' as const, peer: member })),
      ...go.map((member) => ({
        kind: stays(member) ? ('add-learner-node' as const) : ('remove-node' as const),
        peer: member,
      })),
    ],
  )
}

/** Who is to vote becomes a learner first; who does not catch up gives way. */
function bring(roles: Roles, { look, coming }: Plan): Effect | undefined {
  const { nowMs, members } = look
  for (const { member, caughtUp } of coming) {
    const sinceMs = roles.chosen.get(member)
    if (sinceMs === undefined) roles.chosen.set(member, nowMs)
    else if (!caughtUp && nowMs - sinceMs >= CATCH_UP_MS) giveUp(roles, member, nowMs)
  }
  for (const member of roles.chosen.keys())
    if (!coming.some((each) => each.member === member)) roles.chosen.delete(member)
  const missing = coming.filter(
    ({ member }) => roles.chosen.has(member) && !members.learners.includes(member),
  )
  return missing.length === 0 ? undefined : learn(missing.map(({ member }) => member))
}

function giveUp({ chosen, givenUp }: Roles, member: string, nowMs: number): void {
  chosen.delete(member)
  const times = (givenUp.get(member)?.times ?? 0) + 1
  const forMs = Math.min(GIVEN_UP_MS.min * 2 ** (times - 1), GIVEN_UP_MS.max)
  givenUp.set(member, { times, untilMs: nowMs + forMs })
}

/** Learners that are there for nothing go; of two hosts the second comes, or whoever is kept as a learner. */
function tidy(roles: Roles, { look, byMember, learners }: Plan): Effect | undefined {
  const { members, candidates } = look
  const others = candidates
    .filter(({ member }) => !members.voters.includes(member))
    .toSorted(
      (a, b) =>
        Number(members.learners.includes(b.member)) - Number(members.learners.includes(a.member)) ||
        Number(b.reachable) - Number(a.reachable) ||
        (a.member < b.member ? -1 : 1),
    )
  const kept = others.slice(0, learners)
  const useless = members.learners.filter(
    (member) =>
      !byMember.has(member) || !(roles.chosen.has(member) || kept.some((each) => each.member === member)),
  )
  if (useless.length > 0) {
    const list = useless.slice(0, CHANGES_MAX)
    return change(
      why('away', list),
      list.map((peer) => ({ kind: 'remove-node', peer })),
    )
  }
  const missing = kept.filter(({ member, reachable }) => reachable && !members.learners.includes(member))
  return missing.length === 0 ? undefined : learn(missing.map(({ member }) => member))
}

function place(roles: Roles, { look, byMember }: Plan): Effect | undefined {
  const voters = look.members.voters.flatMap((member) => byMember.get(member) ?? [])
  const to = placeLeader(roles.placing, look.self, voters, look.nowMs)
  return to === undefined ? undefined : { kind: 'transfer', to, why: 'nearer to the voters' }
}

const learn = (list: readonly string[]): Effect =>
  change(
    why('learn', list.slice(0, CHANGES_MAX)),
    list.slice(0, CHANGES_MAX).map((peer) => ({ kind: 'add-learner-node', peer })),
  )

const change = (text: string, changes: ConfigurationChange['changes']): Effect => ({
  kind: 'change',
  why: text,
  change: { transition: 'implicit', changes },
})

const why = (what: string, members: readonly string[]): string => `${what} ${members.join(' ')}`
