/** Room for VMs that are on their way to this site: given by the site's leader, taken back when no move will use it. */
import type { PeerId, VmId } from '../../protocols/ids.ts'
import { type Done, failed, ok } from '../../protocols/outcome.ts'
import { refusesVms } from '../catalog/mesh.ts'
import { hostsForPlacement, requestOf, type SiteVm } from '../catalog/site.ts'
import { place } from '../placement/place.ts'
import type { Around } from './around.ts'

export type ReserveParams = {
  readonly m: string
  readonly vm: VmId
  readonly name: string
  readonly spec: string
  /** Null: any host that has room. */
  readonly host: PeerId | null
  readonly epoch: SiteVm['epoch']
  /** Size of its disks. */
  readonly bytes: number
}

/** Room reserved for a move that its source never agreed on. */
const RESERVATION_MS = 10 * 60_000
/** Reasons that a refusal names. */
const REASONS_MAX = 64

export class Reservations {
  readonly #around: Around
  /** When this leader first saw each, by move. */
  readonly #since = new Map<string, number>()

  constructor(around: Around) {
    this.#around = around
  }

  /** At the site's leader: chooses a host, and reserves. */
  reserve(params: ReserveParams, done: Done<{ host: PeerId }>): void {
    const { agreement } = this.#around
    const { m, vm, name, spec, epoch, bytes } = params
    const { [vm]: known, ...reservations } = agreement.site.state.reservations
    // What an older move of this VM left behind makes room for this one.
    const hosts = hostsForPlacement({ ...agreement.site.state, reservations })
      .filter(({ id }) => params.host === null || id === params.host)
      .map((each) => {
        const why = refusesVms(agreement.mesh.state, each.id)
        return why === '' ? each : { ...each, available: false, why }
      })
    const asked = requestOf({ spec, disks: [] })
    const placed =
      known?.m === m
        ? ({ ok: true, host: known.host } as const)
        : place({ ...asked, vm: name, diskBytes: Math.max(asked.diskBytes, bytes) }, hosts)
    if (!placed.ok) {
      return done(failed({ code: 'NO_HOST', vm: name, reasons: placed.reasons.slice(0, REASONS_MAX) }))
    }
    const { host } = placed
    agreement.proposeSite({ kind: 'reserve', m, vm, name, spec, host, epoch }, (outcome) =>
      done(outcome.ok ? ok({ host }) : outcome),
    )
  }

  tick(nowMs: number): void {
    const { agreement } = this.#around
    const { reservations } = agreement.site.state
    for (const m of this.#since.keys())
      if (!Object.values(reservations).some((each) => each.m === m)) this.#since.delete(m)
    if (agreement.site.role !== 'leader') return
    for (const { vm, m } of Object.values(reservations)) {
      const move = agreement.mesh.state.moves[vm]
      const since = this.#since.get(m) ?? nowMs
      this.#since.set(m, since)
      const cancelled = move?.m === m && move.state === 'cancelled'
      const unused = move?.m !== m && nowMs - since > RESERVATION_MS
      if (!cancelled && !unused) continue
      this.#since.delete(m)
      agreement.proposeSite({ kind: 'unreserve', m, vm }, () => {})
    }
  }
}
