/** The libp2p adapters keep the contracts of their ports. */
import { contract as broadcast } from '../../contracts/broadcast.ts'
import { contract as directory } from '../../contracts/directory.ts'
import { contract as transport } from '../../contracts/transport.ts'
import { realUntil as until } from '../../contracts/until.ts'
import { openMesh } from './mesh.ts'

transport('libp2p', async (_, peers) => {
  const { networks, close } = await openMesh(peers)
  return { peers: networks.map((network) => network.transport), until, close }
})

transport('libp2p, bulk by streams', async (_, peers) => {
  const { networks, close } = await openMesh(peers, { bulkListen: [] })
  return { peers: networks.map((network) => network.transport), until, close }
})

broadcast('gossipsub', async (_, peers) => {
  const { networks, close } = await openMesh(peers)
  const opened = networks.map((network) => ({ self: network.transport.self, broadcast: network.broadcast }))
  return { peers: opened, until, close }
})

directory('kad-dht', async (_, peers) => {
  const { networks, close } = await openMesh(peers)
  const opened = networks.map((network) => ({ self: network.transport.self, directory: network.directory }))
  return { peers: opened, until, close }
})
