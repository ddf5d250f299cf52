/**
 * What this host shows to a group that began anew (catalog/recovery.ts): every grant that it holds and the group's record
 * does not, then that these were all. Said from the new generation's own state, when no grant is being written any more:
 * nothing that the old log gave can come behind it.
 */
import { compareEpochs, compareHomes } from '../protocols/epoch.ts'
import type { PeerId } from '../protocols/ids.ts'
import type { Grant } from '../storage/records.ts'
import type { Agreement } from './agreement.ts'
import type { Doubt } from './binding/doubt.ts'
import { homeOf } from './catalog/mesh.ts'
import { generationOf, isUnheard } from './catalog/recovery.ts'
import type { Vms } from './reconcile/vms.ts'

export class Presenting {
  readonly #self: PeerId
  readonly #site: string
  readonly #agreement: Agreement
  readonly #vms: Vms
  readonly #doubt: Doubt
  #busy = { mesh: false, site: false }
  /**
   * The site's log was put aside for another generation's, or may have been in the life before: what was held under it is shown
   * once more, for that group may have heard this host out before.
   */
  #again = true

  constructor(self: PeerId, site: string, agreement: Agreement, vms: Vms, doubt: Doubt) {
    this.#doubt = doubt
    this.#self = self
    this.#site = site
    this.#agreement = agreement
    this.#vms = vms
  }

  /** Called again and again: what failed is said again. */
  look(): void {
    const { mesh, site } = this.#agreement
    if (!this.#vms.settled || this.#doubt.unheard() !== undefined) return
    if (!this.#busy.mesh && isUnheard(mesh.state, this.#self)) this.#present('mesh', this.#unknownToMesh())
    const isAsked = isUnheard(site.state, this.#self) || (this.#again && generationOf(site.state) > 0)
    if (!this.#busy.site && isAsked) this.#present('site', this.#unknownToSite())
  }

  again(): void {
    this.#again = true
  }

  #unknownToMesh(): Grant[] {
    const { state } = this.#agreement.mesh
    return this.#grants().filter(({ vm, epoch }) => compareHomes(epoch, homeOf(state, vm).epoch) > 0)
  }

  /** What came with a folder that was replaced may be long over: it proves nothing. */
  #grants(): Grant[] {
    return this.#vms.grants().filter(({ vm }) => this.#doubt.of(vm) === undefined)
  }

  /** A VM whose home is elsewhere by now is that site's to know of. */
  #unknownToSite(): Grant[] {
    const { mesh, site } = this.#agreement
    return this.#grants().filter(({ vm, epoch }) => {
      const known = site.state.vms[vm]
      if (known !== undefined && compareEpochs(known.epoch, epoch) >= 0) return false
      const home = homeOf(mesh.state, vm)
      return home.site === this.#site || compareHomes(epoch, home.epoch) > 0
    })
  }

  /** One after the other; the last word only when all others were taken. */
  #present(which: 'mesh' | 'site', grants: readonly Grant[]): void {
    const { mesh, site } = this.#agreement
    const generation = generationOf(which === 'mesh' ? mesh.state : site.state)
    this.#busy[which] = true
    const end = (): void => {
      this.#busy[which] = false
    }
    const next = (index: number): void => {
      const grant = grants[index]
      if (grant === undefined) return this.#sayAll(which, generation, end)
      this.#show(which, generation, grant, (taken) => (taken ? next(index + 1) : end()))
    }
    next(0)
  }

  #show(which: 'mesh' | 'site', generation: number, grant: Grant, done: (taken: boolean) => void): void {
    const { vm, name, epoch, spec, disks, wanted, deleting } = grant
    const agreement = this.#agreement
    if (which === 'mesh') {
      const shown = { kind: 'present-grant', peer: this.#self, generation, vm, epoch, disks } as const
      return agreement.proposeMesh(shown, ({ ok }) => done(ok))
    }
    const shown = { vm, name, epoch, spec, disks, wanted, deleting, host: this.#self }
    agreement.proposeSite({ kind: 'present-grant', generation, ...shown }, ({ ok }) => done(ok))
  }

  #sayAll(which: 'mesh' | 'site', generation: number, done: () => void): void {
    if (which === 'mesh')
      this.#agreement.proposeMesh({ kind: 'presented', peer: this.#self, generation }, done)
    else {
      this.#agreement.proposeSite({ kind: 'presented', host: this.#self, generation }, (outcome) => {
        if (outcome.ok && generation === generationOf(this.#agreement.site.state)) this.#again = false
        done()
      })
    }
  }
}
