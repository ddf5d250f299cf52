/** Opens networks on loopback that allow each other, for the tests of the libp2p adapters. */
import type { PeerId } from '../../../protocols/ids.ts'
import { newPrivateKey } from '../../../protocols/libp2p/identity.ts'
import { openNetwork, type Network, type NetworkConfig } from '../../../protocols/libp2p/node.ts'
import { realUntil } from '../../contracts/until.ts'

export type Mesh = { networks: Network[]; close: () => Promise<void> }

export const openOne = (
  peers?: ReadonlyMap<PeerId, readonly string[]>,
  more: Partial<NetworkConfig> = {},
): Promise<Network> =>
  openNetwork({
    privateKey: newPrivateKey(),
    meshId: '01JZZZZZZZZZZZZZZZZZZZZZZZ',
    listen: ['/ip4/127.0.0.1/tcp/0'],
    mdns: false,
    ...(peers === undefined ? {} : { peers }),
    ...more,
  })

export function introduce(networks: readonly Network[]): void {
  const everyone = new Map(networks.map(({ transport }) => [transport.self, transport.addresses()]))
  for (const { transport } of networks) transport.allow(everyone)
}

/** All of them connected with all others. */
export async function openMesh(count: number, more: Partial<NetworkConfig> = {}): Promise<Mesh> {
  const networks = await Promise.all(Array.from({ length: count }, () => openOne(undefined, more)))
  introduce(networks)
  await realUntil(() => networks.every(({ transport }) => transport.connected().length === count - 1), 15_000)
  const close = async (): Promise<void> => {
    await Promise.all(networks.map((network) => network.close()))
  }
  return { networks, close }
}
