/** What the parts of this folder share: the peer around a move, and the habit of never doing the same thing twice at once. */
import type { Clock } from '../../protocols/clock.ts'
import { compareHomes } from '../../protocols/epoch.ts'
import type { PeerId } from '../../protocols/ids.ts'
import type { Cost } from '../../protocols/move/messages.ts'
import type { Done } from '../../protocols/outcome.ts'
import type { Transport } from '../../protocols/transport.ts'
import type { Agreement } from '../agreement.ts'
import type { Asking } from '../asking.ts'
import type { SiteCommand } from '../catalog/site.ts'
import type { Disks } from '../hypervisor.ts'
import type { Jobs } from '../jobs.ts'
import type { Vms } from '../reconcile/vms.ts'

/** Brings images here from whoever holds their chunks. `holders` are known to, and are asked first. */
export type Pull = (
  images: readonly { readonly image: string; readonly bytes: number; readonly only?: 'manifest' }[],
  holders: readonly PeerId[],
  onCost: (cost: Cost) => void,
  done: Done<Cost>,
) => { cancel(): void }

export type Around = {
  readonly self: PeerId
  readonly site: string
  readonly clock: Clock
  readonly transport: Transport
  readonly agreement: Agreement
  readonly asking: Asking
  readonly vms: Vms
  readonly jobs: Jobs
  readonly disks: Disks
  readonly pull: Pull
}

/**
 * How move m of a VM ended, when its log says so: the mesh's between sites, the site's inside one. The mesh keeps the
 * newest move of a VM only; that an older one was taken shows in its home, which has moved on since.
 */
export function endOf({ agreement }: Around, vm: string, m: string): 'taken' | 'cancelled' | undefined {
  const { moves, homes } = agreement.mesh.state
  const move = moves[vm]
  if (move?.m === m) return move.state === 'intended' ? undefined : move.state
  const here = agreement.site.state.vms[vm]
  if (here?.ended?.m === m) return here.ended.how
  const home = homes[vm]
  const left = here?.move?.m === m && home !== undefined && compareHomes(home.epoch, here.epoch) > 0
  return left ? 'taken' : undefined
}

/** What brings the record of a VM of this site up to a home that was given to it by force; undefined when nothing has to. */
export function raised({ agreement, site }: Around, vm: string): SiteCommand | undefined {
  const home = agreement.mesh.state.homes[vm]
  const here = agreement.site.state.vms[vm]
  if (home?.unsafe !== true || home.site !== site || here === undefined) return undefined
  return compareHomes(home.epoch, here.epoch) > 0 ? { kind: 'vm-raise', vm, epoch: home.epoch } : undefined
}

/** Things in hand, by name. */
export class InHand {
  readonly #names = new Set<string>()

  /** Does `run` unless a thing of that name is in hand; until `done` is called it is. */
  once(name: string, run: (done: () => void) => void): void {
    if (this.#names.has(name)) return
    this.#names.add(name)
    run(() => this.#names.delete(name))
  }
}
