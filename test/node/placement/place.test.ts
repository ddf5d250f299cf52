import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import { CPU_OVERCOMMIT } from '../../../node/placement/filters.ts'
import { type Host, place, type PlaceRequest } from '../../../node/placement/place.ts'

const GIB = 1024 ** 3
const request: PlaceRequest = { vm: 'till', cpus: 2, memoryMiB: 1024, diskBytes: 4 * GIB, labels: {} }

type Change = Partial<Omit<Host, 'capacity' | 'committed'>> & {
  capacity?: Partial<Host['capacity']>
  committed?: Partial<Host['committed']>
}

const host = (id: string, { capacity, committed, ...rest }: Change = {}): Host => ({
  id,
  name: `host-${id}`,
  capacity: { cpus: 2, memoryMiB: 4096, diskBytes: 16 * GIB, driver: 'kvm', labels: {}, ...capacity },
  committed: { cpus: 0, memoryMiB: 0, diskBytes: 0, ...committed },
  available: true,
  why: '',
  ...rest,
})

const refusals: [what: string, host: Host, asked: Partial<PlaceRequest>, why: string][] = [
  ['drains', host('a', { available: false, why: 'is draining' }), {}, 'is draining'],
  ['is gone without a reason', host('a', { available: false }), {}, 'is not in sight'],
  [
    'runs nothing',
    host('a', { capacity: { driver: 'none' } }),
    {},
    'cannot run guests: it has no hypervisor',
  ],
  [
    'has another driver',
    host('a', { capacity: { driver: 'tcg' } }),
    { driver: 'kvm' },
    'runs guests by tcg, not by kvm',
  ],
  [
    'lacks one MiB',
    host('a', { committed: { memoryMiB: 3073 } }),
    {},
    '1024 MiB of memory wanted, 1023 of 4096 free',
  ],
  [
    'is over its memory already',
    host('a', { committed: { memoryMiB: 5000 } }),
    {},
    '1024 MiB of memory wanted, 0 of 4096 free',
  ],
  ['lacks one virtual CPU', host('a', { committed: { cpus: 7 } }), {}, '2 virtual CPUs wanted, 1 of 8 free'],
  [
    'lacks one byte of disk',
    host('a', { committed: { diskBytes: 12 * GIB + 1 } }),
    {},
    '4096 MiB of disk wanted, 4095 of 16384 free',
  ],
  ['lacks a label', host('a'), { labels: { gpu: 'yes' } }, 'has no label gpu=yes'],
  [
    'lacks a label that every object has',
    host('a'),
    { labels: { constructor: 'x' } },
    'has no label constructor=x',
  ],
  [
    'has another label',
    host('a', { capacity: { labels: { rack: '2' } } }),
    { labels: { rack: '1' } },
    'has label rack=2, not 1',
  ],
]

for (const [what, refused, asked, why] of refusals) {
  test(`a host that ${what} is refused, and says so`, (t) => {
    t.deepEqual(place({ ...request, ...asked }, [refused]), { ok: false, reasons: [{ host: 'host-a', why }] })
    const other = host('b', { capacity: { labels: { gpu: 'yes', constructor: 'x', rack: '1' } } })
    const placed = place({ ...request, ...asked }, [refused, other])
    t.is(placed.ok && placed.host, 'b')
    t.like(placed, { considered: [{ host: 'host-a', why }, { host: 'host-b' }] })
  })
}

const choices: [rule: string, hosts: Host[], chosen: string][] = [
  [
    'an exact fit is a fit',
    [host('a', { committed: { memoryMiB: 3072, cpus: 6, diskBytes: 12 * GIB } })],
    'a',
  ],
  ['ties go by id, whatever the order', [host('c'), host('a'), host('b')], 'a'],
  [
    'least committed memory wins',
    [host('a', { committed: { memoryMiB: 1024 } }), host('b', { committed: { memoryMiB: 512 } })],
    'b',
  ],
  [
    'by share, not by MiB',
    [
      host('a', { committed: { memoryMiB: 1024 } }),
      host('b', { capacity: { memoryMiB: 65_536 }, committed: { memoryMiB: 8192 } }),
    ],
    'b',
  ],
]

for (const [rule, hosts, chosen] of choices) {
  test(`of hosts that fit: ${rule}`, (t) => {
    const placed = place(request, hosts)
    t.is(placed.ok && placed.host, chosen)
    t.true(
      placed.ok &&
        placed.considered.some(({ host, why }) => host === `host-${chosen}` && why.startsWith('chosen: ')),
    )
  })
}

test('no hosts is a refusal without reasons', (t) => {
  t.deepEqual(place(request, []), { ok: false, reasons: [] })
})

const amounts = fc.record({ cpus: fc.nat(64), memoryMiB: fc.nat(8192), diskBytes: fc.nat(32) })
const anyHosts = fc.array(amounts, { maxLength: 5 })

testProp(
  'placing one after the other never goes above what a host committed',
  [anyHosts, fc.array(amounts, { maxLength: 40 })],
  (t, sizes, vms) => {
    const hosts = sizes.map((capacity, index) => host(String(index), { capacity }))
    for (const [index, vm] of vms.entries()) {
      const placed = place({ ...vm, vm: `vm-${index}`, labels: {} }, hosts)
      if (!placed.ok) {
        t.deepEqual(new Set(placed.reasons.map(({ host }) => host)), new Set(hosts.map(({ name }) => name)))
        t.true(placed.reasons.every(({ why }) => why.length > 0))
        continue
      }
      const { committed } = hosts.find(({ id }) => id === placed.host) as Host
      committed.cpus += vm.cpus
      committed.memoryMiB += vm.memoryMiB
      committed.diskBytes += vm.diskBytes
    }
    t.deepEqual(
      hosts.filter(
        ({ capacity, committed }) =>
          committed.memoryMiB > capacity.memoryMiB ||
          committed.diskBytes > capacity.diskBytes ||
          committed.cpus > capacity.cpus * CPU_OVERCOMMIT,
      ),
      [],
    )
  },
)
