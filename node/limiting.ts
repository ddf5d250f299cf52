/** Keeps the caps on bulk that the operator wrote (`transfer.limits`) in step with the clock and with who is where. */
import type { PeerId } from '../protocols/ids.ts'
import type { Cap } from '../protocols/rate/caps.ts'
import { holds, names, type Place, type Rule, type WallTime } from '../protocols/rate/schedule.ts'

export type Limits = { readonly rules: readonly Rule[]; readonly wallTime: (ms: number) => WallTime }

export class Limiting {
  readonly #limits: Limits
  readonly #shape: (caps: readonly Cap[]) => void
  /** What was told last, as text. */
  #told = ''

  constructor(limits: Limits, shape: (caps: readonly Cap[]) => void) {
    this.#limits = limits
    this.#shape = shape
  }

  /** Every few seconds, and when peers came or moved. `here`: the name of this peer's site. */
  look(nowMs: number, here: string, others: ReadonlyMap<PeerId, Place>): void {
    const { rules, wallTime } = this.#limits
    if (rules.length === 0) return
    const time = wallTime(nowMs)
    const caps = rules.flatMap((rule, at): Cap[] => {
      const peers = [...others].flatMap(([peer, place]) => (names(rule, here, place) ? [peer] : [])).sort()
      const isOpen = holds(rule, time) && peers.length > 0
      const rates = { upBytesPerS: rule.up, downBytesPerS: rule.down }
      return isOpen ? [{ name: `${at} ${rule.to}`, peers: new Set(peers), ...rates }] : []
    })
    const told = JSON.stringify(caps.map((cap) => ({ ...cap, peers: [...cap.peers] })))
    if (told === this.#told) return
    this.#told = told
    this.#shape(caps)
  }
}
