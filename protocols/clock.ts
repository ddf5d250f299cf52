/** Port: time and dice, the two things a core may not take for itself. */
export type Timer = { cancel(): void }

export type Clock = {
  /** Milliseconds since this machine booted, suspend included; what rules and leases count with. Never goes back. */
  nowMs(): number
  /** Whole milliseconds since 1970 by the wall clock: for people and records, never for safety. */
  wallMs(): number
  /** Runs `run` once, not before `delayMs` from now; 0 is after what has arrived by now. A cancelled timer never runs. */
  after(delayMs: number, run: () => void): Timer
}

/** A number in [0, 1). Seeded in the simulator. */
export type Dice = () => number
