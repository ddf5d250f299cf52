/**
 * What this peer says of itself in agreed states: its addresses in the mesh's, its host's capacity in its site's. Said when
 * it is not what is agreed on, at every look until it is.
 */
import type { Transport } from '../protocols/transport.ts'
import type { Agreement } from './agreement.ts'
import type { NodeConfig } from './context.ts'
import { type Hypervisor, PROBING } from './hypervisor.ts'

/** As many as an entry may name. */
const ADDRESSES_MAX = 16

type Ports = {
  readonly transport: Pick<Transport, 'addresses'>
  readonly hypervisor: Pick<Hypervisor, 'driver'>
}

export class Stating {
  readonly #config: NodeConfig
  readonly #agreement: Agreement
  readonly #ports: Ports

  constructor(config: NodeConfig, agreement: Agreement, ports: Ports) {
    this.#config = config
    this.#agreement = agreement
    this.#ports = ports
  }

  look(): void {
    this.#addresses()
    this.#capacity()
  }

  /** As others should know them. */
  #addresses(): void {
    const { peer } = this.#config.identity
    const known = this.#agreement.mesh.state.peers[peer]
    const addresses = this.#ports.transport.addresses().slice(0, ADDRESSES_MAX)
    if (
      known === undefined ||
      addresses.length === 0 ||
      JSON.stringify(known.addresses) === JSON.stringify(addresses)
    )
      return
    this.#agreement.proposeMesh({ kind: 'peer-update', peer, addresses }, () => {})
  }

  #capacity(): void {
    const { capacity, identity, labels } = this.#config
    const agreed = this.#agreement.site.state.hosts[identity.peer]
    const { driver } = this.#ports.hypervisor
    const host = {
      id: identity.peer,
      name: identity.peerName,
      ...capacity,
      // Mostly the probe ends as it did before: no entry to say so, and none to say that it is under way.
      driver: driver === PROBING ? (agreed?.driver ?? driver) : driver,
      labels: { ...labels },
    }
    if (agreed !== undefined && JSON.stringify(sorted(agreed)) === JSON.stringify(sorted(host))) return
    this.#agreement.proposeSite({ kind: 'host-commit', ...host }, () => {})
  }
}

const sorted = (value: object): [string, unknown][] =>
  Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
