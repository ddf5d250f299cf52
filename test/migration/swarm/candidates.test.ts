/** Of an image with more chunks than a source's list of candidates holds, every chunk is asked for, once. */
import test from 'ava'
import { rarest } from '../../../migration/swarm/choose.ts'
import { gain, HERE, startDownload } from '../../../migration/swarm/holdings.ts'
import { newSource } from '../../../migration/swarm/source.ts'
import { range } from './support.ts'

const CHUNKS = 100_001
const LISTED = 64 * 1024

for (const every of [1, 3])
  test(`a source of one chunk in ${every} of a large image is asked for all of them`, (t) => {
    let seed = 1
    const dice = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647
    const download = startDownload({ bytes: CHUNKS * 4096, chunkBytes: 4096 }, range(0, CHUNKS), dice, 0)
    const source = newSource('a', false, CHUNKS, 10)
    download.sources.push(source)
    for (let index = 0; index < CHUNKS; index += every) gain(download, source, index, 0)
    t.true(source.candidates.length <= LISTED)
    let picked = 0
    for (let index = rarest(download, source); index !== undefined; index = rarest(download, source)) {
      picked++
      download.state[index] = HERE
      if (source.candidates.length > LISTED) return t.fail('more candidates than are bounded')
    }
    t.is(picked, Math.ceil(CHUNKS / every))
    t.is(rarest(download, source), undefined)
  })

test('what cannot be asked for now does not hide what can', (t) => {
  const download = startDownload({ bytes: CHUNKS * 4096, chunkBytes: 4096 }, range(0, CHUNKS), () => 0.5, 0)
  const source = newSource('far', false, CHUNKS, 10)
  download.sources.push(source)
  for (let index = 0; index < CHUNKS; index++) gain(download, source, index, 0)
  // All but one are held near.
  download.nearHolders.fill(1)
  download.nearHolders[CHUNKS - 2] = 0
  t.is(rarest(download, source), CHUNKS - 2)
})
