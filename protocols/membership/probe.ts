/**
 * One probe of one peer, as a small machine:
 *
 *   direct ──PING_MS without an answer──▶ indirect ──▶ reached | failed | unclear
 *      └──────────── ack ────────────────────┴─────────▲
 *
 * `unclear` is no evidence against the target: nobody who was asked had a way to it.
 */
import type { PeerId } from '../ids.ts'
import { PING_MS, PROBE_SPAN_MS } from '../limits.ts'

export type Probe = {
  readonly target: PeerId
  readonly seq: number
  phase: 'direct' | 'indirect'
  directUntilMs: number
  untilMs: number
  /** Whether this peer itself had a way to the target. */
  readonly tried: boolean
  /** Who was asked to try, and what came of it. */
  readonly relays: Map<PeerId, 'asked' | 'tried' | 'no way'>
}

/** What a probe without an answer means: to the target, and to the health of who probed. */
export type Verdict = { readonly outcome: 'failed' | 'unclear'; readonly health: number }

/** `stretch`: one more than the local health, so that a slow peer gives others more time. */
export function newProbe(at: {
  target: PeerId
  seq: number
  nowMs: number
  stretch: number
  connected: boolean
  tried: boolean
}): Probe {
  const { target, seq, nowMs, stretch, connected, tried } = at
  return {
    target,
    seq,
    phase: connected ? 'direct' : 'indirect',
    directUntilMs: nowMs + PING_MS * stretch,
    untilMs: nowMs + PROBE_SPAN_MS * stretch,
    tried,
    relays: new Map(),
  }
}

export function hearNack(probe: Probe, from: PeerId, tried: boolean): void {
  if (probe.relays.get(from) === 'asked') probe.relays.set(from, tried ? 'tried' : 'no way')
}

/** Whether everybody who was asked has said no: there is nothing left to wait for. */
export function settled({ phase, relays }: Probe): boolean {
  if (phase === 'direct' || relays.size === 0) return false
  for (const answer of relays.values()) if (answer === 'asked') return false
  return true
}

/** Whether `from` may answer this probe: the target itself, or somebody who was asked to try. */
export const mayAnswer = (probe: Probe, from: PeerId): boolean =>
  from === probe.target || probe.relays.has(from)

/**
 * Called when time is up. Relays that are well send a nack before that: when one is missing, something is wrong nearer
 * than the target, here. With no relays to tell, the failure counts against this peer too.
 */
export function judge(probe: Probe): Verdict {
  const answers = [...probe.relays.values()]
  const missing = answers.filter((answer) => answer === 'asked').length
  const tried = probe.tried || answers.includes('tried')
  const health = answers.length > 0 ? Math.min(1, missing) : Number(probe.tried)
  return { outcome: tried ? 'failed' : 'unclear', health }
}
