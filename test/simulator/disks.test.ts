import { SimChunkStore, SimManifestStore } from '../../simulator/chunk-store.ts'
import { SimDisks } from '../../simulator/disks.ts'
import { simGuestImage } from '../../simulator/guest.ts'
import { World } from '../../simulator/world.ts'
import { contract, type Opened } from '../contracts/disks.ts'
import { worldUntil } from '../contracts/until.ts'

const sizes = { bytes: 32 * 1024, chunkBytes: 4096, dataChunks: 3 }
const whole = simGuestImage({ seed: 1, ...sizes })
const partial = simGuestImage({ seed: 2, ...sizes })

type Stores = { chunks: SimChunkStore; manifests: SimManifestStore }

const lives = (world: World, stores: Stores, disks: SimDisks): Opened => ({
  disks,
  ...stores,
  until: worldUntil(world),
  image: whole.manifest.image,
  partial: partial.manifest.image,
  write: async (vm, _handle, byte) => disks.writeChunk(vm, 1, Buffer.alloc(whole.manifest.chunkBytes, byte)),
  reopen: async () => {
    const next = { chunks: stores.chunks.reopen(), manifests: stores.manifests.reopen() }
    return lives(world, next, disks.reopen(next))
  },
})

contract('the disks in the simulator', async () => {
  const world = new World(1)
  const manifests = new Map([whole, partial].map(({ manifest }) => [manifest.image, manifest]))
  const stores = {
    chunks: new SimChunkStore(world, 'a', whole.frames),
    manifests: new SimManifestStore(world, 'a', manifests),
  }
  return lives(world, stores, new SimDisks(world, stores))
})
