import { readdirSync, readFileSync } from 'node:fs'
import test from 'ava'
import { place } from '../../../node/placement/place.ts'
import { parseCluster } from './cluster-text.ts'

const folder = new URL('../../fixtures/clusters/', import.meta.url)

for (const file of readdirSync(folder).toSorted((a, b) => (a < b ? -1 : 1))) {
  const { hosts, cases } = parseCluster(readFileSync(new URL(file, folder), 'utf8'))
  for (const { request, expected } of cases) {
    test(`${file}: ${request.vm}`, (t) => {
      const placed = place(request, hosts)
      const chosen = placed.ok ? hosts.find(({ id }) => id === placed.host)?.name : 'nowhere'
      const reasons = placed.ok ? placed.considered : placed.reasons
      t.deepEqual([`-> ${chosen}`, ...reasons.map(({ host, why }) => `${host}: ${why}`)], expected)
    })
  }
}
