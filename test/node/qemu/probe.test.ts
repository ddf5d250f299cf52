import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { PROBING } from '../../../node/hypervisor.ts'
import { openHypervisor } from '../../../node/qemu/machine.ts'
import { probe } from '../../../node/qemu/probe.ts'
import { folderOf } from '../../storage/folder.ts'

test('a probe finds a driver that runs guests, and asks again only after a boot or another QEMU', async (t) => {
  const cache = join(await folderOf(t), 'probe.json')
  const probed = await probe(cache)
  t.true(['kvm', 'tcg'].includes(probed.driver), probed.why)
  // With QEMU here the only reason for TCG is KVM's.
  if (probed.driver === 'tcg') t.regex(probed.why, /kvm/i)

  const record = JSON.parse(await readFile(cache, 'utf8')) as Record<string, string>
  const kept = { ...record, why: 'kept' }
  await writeFile(cache, JSON.stringify(kept))
  t.is((await probe(cache)).why, 'kept')
  for (const stale of ['boot', 'version']) {
    await writeFile(cache, JSON.stringify({ ...kept, [stale]: 'another' }))
    t.not((await probe(cache)).why, 'kept', stale)
  }
})

test('nobody waits for a probe, and one that is cut short is not believed', async (t) => {
  const folder = await folderOf(t)
  const hypervisor = await openHypervisor({ folder })
  t.is(hypervisor.driver, PROBING)
  await hypervisor.close()
  t.deepEqual(await readdir(folder), [])
})
