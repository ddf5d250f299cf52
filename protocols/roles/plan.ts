/**
 * Who should vote, against who does: what one look at the candidates comes to. What is done about it, one step at a time,
 * is in roles.ts.
 */
import { type Candidate, CHOSEN_POINTS, INCUMBENT_POINTS, scoreOf } from './candidate.ts'
import { newPlacing, type Placing } from './placing.ts'
import { lossesOf, newSights, type Sights, standsFor } from './sights.ts'
import { countOf, mostOf } from './spread.ts'
import { choose, type Kind, type Scored, type Target, targetOf } from './targets.ts'

/** A spare is chosen once it was in sight this long (hashicorp's autopilot: ServerStabilizationTime). */
export const STABLE_MS = 10_000
/** A voter out of sight this long is replaced: longer than a peer's restart, shorter than a host's repair. */
export const REPLACE_MS = 30_000
/** Why a voter is to go, in the order in which it is acted on, and for how long that must have been so. */
const PATIENCE_MS = {
  removed: 0,
  draining: 0,
  'no-vote': 0,
  lost: 0,
  surplus: STABLE_MS,
  /** Another site or uplink would be in: a site that is back must be back for good. */
  spread: 60_000,
  score: 300_000,
} as const
type Why = keyof typeof PATIENCE_MS
const RANK = Object.keys(PATIENCE_MS) as readonly Why[]

type Doubt = { readonly why: Why; readonly sinceMs: number }

export type Roles = {
  readonly kind: Kind
  /** Every candidate without a vote is kept as a learner: where nobody follows the log by other means. */
  readonly keepsAll: boolean
  readonly sights: Sights
  readonly doubts: Map<string, Doubt>
  /** Learners chosen to vote, and since when. */
  readonly chosen: Map<string, number>
  readonly givenUp: Map<string, { readonly times: number; readonly untilMs: number }>
  readonly placing: Placing
  inFlightMs: number | undefined
}

/** The leader's own: it begins anew with each lead. */
export const newRoles = (kind: Kind, keepsAll: boolean, nowMs: number): Roles => ({
  kind,
  keepsAll,
  sights: newSights(),
  doubts: new Map(),
  chosen: new Map(),
  givenUp: new Map(),
  placing: newPlacing(nowMs),
  inFlightMs: undefined,
})

type Members = {
  readonly voters: readonly string[]
  readonly votersOutgoing: readonly string[]
  readonly learners: readonly string[]
}

export type Event =
  | {
      readonly kind: 'look'
      readonly nowMs: number
      /** The leader, as a member. */
      readonly self: string
      readonly members: Members
      /** Everybody admitted who is a member, in sight or not, and spares that were asked; one for each peer. */
      readonly candidates: readonly Candidate[]
    }
  /** The change or transfer has come about, or was refused. */
  | { readonly kind: 'ended' }

export type Look = Extract<Event, { kind: 'look' }>

export type Plan = {
  readonly look: Look
  readonly target: Target
  readonly byMember: ReadonlyMap<string, Candidate>
  /** Who should vote and does not, best first, no more than there is a place for. */
  readonly coming: readonly Candidate[]
  /** Voters that should go by now, the most urgent first. */
  readonly going: readonly string[]
  /** By how many the voters are to become more. */
  readonly growth: number
  /** Members without a vote that are kept: beside one voter a second copy, of two hosts the other. */
  readonly learners: number
}

export function planOf(roles: Roles, look: Look): Plan {
  const { nowMs, candidates, members } = look
  const byMember = new Map(candidates.map((each) => [each.member, each]))
  const isVoter = new Set(members.voters)
  forget(roles, look, byMember)
  const eligible = candidates.filter(({ noVote, draining }) => !noVote && !draining)
  const target = targetOf(roles.kind, eligible)
  const usable = eligible.filter((each) =>
    isVoter.has(each.member) ? whyGone(roles, each, nowMs) === undefined : isReady(roles, each, nowMs),
  )
  // Everybody's round trips to everybody go into it: once for each look.
  const points = new Map(
    eligible.map((each) => [each.member, pointsOf(roles, each, eligible, isVoter, nowMs)]),
  )
  const wanted = best(usable, points, target).map(({ member }) => member)
  // Rather a voter that is out of sight, or too many of one site, than one less.
  for (const member of incumbents(roles, look, byMember, eligible)) {
    if (wanted.length < target.voters && !wanted.includes(member)) wanted.push(member)
  }
  if (wanted.length % 2 === 0) wanted.pop()

  const out = members.voters.filter((member) => !wanted.includes(member))
  const all = wanted.filter((member) => !isVoter.has(member)).flatMap((member) => byMember.get(member) ?? [])
  const going = doubt(roles, look, byMember, out, wanted)
  const growth = wanted.length - members.voters.length
  const isEarly =
    growth > 0 && going.length === 0 && isSoonBetter(roles, look, eligible, points, target, wanted)
  const coming = isEarly ? [] : all.slice(0, Math.max(0, going.length + growth))
  const learners = roles.keepsAll ? Infinity : wanted.length === 1 ? 1 : 0
  return { look, target, byMember, coming, going, growth, learners }
}

/**
 * Whether peers that have just come would be chosen if they stayed: a group that grows waits for them, rather than have
 * two voters in a site now and one of them replaced a minute later. Who was lost from sight before is not waited for.
 */
function isSoonBetter(
  roles: Roles,
  { nowMs, members }: Look,
  eligible: readonly Candidate[],
  points: ReadonlyMap<string, number>,
  target: Target,
  wanted: readonly string[],
): boolean {
  const isVoter = new Set(members.voters)
  const hopeful = eligible.filter(
    (each) =>
      wanted.includes(each.member) ||
      isReady(roles, each, nowMs) ||
      (each.reachable && !each.leaving && isNew(roles, each, nowMs)),
  )
  return best(hopeful, points, target).some(
    (each) => !isVoter.has(each.member) && !isReady(roles, each, nowMs),
  )
}

const isNew = ({ sights, givenUp }: Roles, { member }: Candidate, nowMs: number): boolean =>
  lossesOf(sights, member, nowMs) === 0 && !givenUp.has(member)

/** What is held about members that are no longer there, or not for this purpose. */
function forget(
  { chosen, doubts, givenUp }: Roles,
  look: Look,
  byMember: ReadonlyMap<string, Candidate>,
): void {
  const { voters } = look.members
  for (const member of chosen.keys())
    if (!byMember.has(member) || voters.includes(member)) chosen.delete(member)
  for (const member of givenUp.keys()) if (!byMember.has(member)) givenUp.delete(member)
  for (const member of doubts.keys()) if (!voters.includes(member)) doubts.delete(member)
}

/** Why a voter may not stay, whoever else there is; undefined when it may. */
function whyGone(roles: Roles, candidate: Candidate | undefined, nowMs: number): Why | undefined {
  if (candidate === undefined) return 'removed'
  if (candidate.draining || candidate.leaving) return 'draining'
  if (candidate.noVote) return 'no-vote'
  const lost = !candidate.reachable && standsFor(roles.sights, candidate.member, nowMs) >= REPLACE_MS
  return lost ? 'lost' : undefined
}

/** Whether a spare may be chosen. Each time it was lost from sight, it must stay twice as long. */
function isReady(
  { sights, givenUp }: Roles,
  { member, reachable, leaving }: Candidate,
  nowMs: number,
): boolean {
  if (!reachable || leaving || (givenUp.get(member)?.untilMs ?? 0) > nowMs) return false
  return standsFor(sights, member, nowMs) >= STABLE_MS * 2 ** lossesOf(sights, member, nowMs)
}

function pointsOf(
  roles: Roles,
  candidate: Candidate,
  pool: readonly Candidate[],
  isVoter: ReadonlySet<string>,
  nowMs: number,
): number {
  const { member } = candidate
  const ahead = isVoter.has(member) ? INCUMBENT_POINTS : roles.chosen.has(member) ? CHOSEN_POINTS : 0
  return scoreOf(candidate, pool, lossesOf(roles.sights, member, nowMs)) + ahead
}

const best = (from: readonly Candidate[], points: ReadonlyMap<string, number>, target: Target): Scored[] =>
  choose(
    from.map((each) => ({ ...each, points: points.get(each.member) ?? 0 })),
    target,
  )

/** Voters that may stay if nobody takes their place, those in sight first. */
function incumbents(
  roles: Roles,
  look: Look,
  byMember: ReadonlyMap<string, Candidate>,
  eligible: readonly Candidate[],
): string[] {
  const last = (member: string): number => {
    const why = whyGone(roles, byMember.get(member), look.nowMs)
    return why === undefined ? 0 : byMember.get(member)?.reachable === true ? 1 : 2
  }
  return look.members.voters
    .filter((member) => eligible.some((each) => each.member === member))
    .toSorted((a, b) => last(a) - last(b) || (a < b ? -1 : 1))
}

/** Of the voters that are not wanted, those for whom that has been so for long enough. */
function doubt(
  roles: Roles,
  look: Look,
  byMember: ReadonlyMap<string, Candidate>,
  out: readonly string[],
  wanted: readonly string[],
): string[] {
  const { nowMs, members } = look
  const places = (list: readonly string[]): Candidate[] =>
    list.flatMap((member) => byMember.get(member) ?? [])
  const wider = isWider(places(wanted), places(members.voters))
  const less = wanted.length < members.voters.length
  // That there is one too many has to last, and not who it is: of equals another may be the better at every look.
  const surplusMs: number[] = []
  for (const [member, { why, sinceMs }] of roles.doubts) {
    if (out.includes(member)) continue
    if (why === 'surplus') surplusMs.push(sinceMs)
    roles.doubts.delete(member)
  }
  for (const member of out) {
    const why = whyGone(roles, byMember.get(member), nowMs) ?? (less ? 'surplus' : wider ? 'spread' : 'score')
    if (roles.doubts.get(member)?.why === why) continue
    const sinceMs = why === 'surplus' ? (surplusMs.shift() ?? nowMs) : nowMs
    roles.doubts.set(member, { why, sinceMs })
  }
  const whyOf = (member: string): Why => roles.doubts.get(member)?.why ?? 'score'
  return out
    .filter((member) => nowMs - (roles.doubts.get(member)?.sinceMs ?? nowMs) >= PATIENCE_MS[whyOf(member)])
    .toSorted((a, b) => RANK.indexOf(whyOf(a)) - RANK.indexOf(whyOf(b)) || (a < b ? -1 : 1))
}

function isWider(after: readonly Candidate[], before: readonly Candidate[]): boolean {
  return (['site', 'uplink'] as const).some((by) => {
    const names = (list: readonly Candidate[]): number => countOf(list.map((each) => each[by])).size
    return mostOf(after, by) < mostOf(before, by) || names(after) > names(before)
  })
}
