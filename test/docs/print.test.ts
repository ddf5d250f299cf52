import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { readConfigFile } from '../../node/config.ts'
import { CONVERSATIONS } from '../../protocols/catalogue.ts'
import { parseSpec } from '../../node/vm/parse.ts'
import { CONFIG_EXAMPLE, PAGES } from './pages.ts'
import { SPEC_EXAMPLE } from './spec-page.ts'

const root = join(import.meta.dirname, '../..')

for (const [path, page] of Object.entries(PAGES)) {
  test(`${path} is as the tables print it (else: npm run docs)`, (t) => {
    const [there, wanted] = [readFileSync(join(root, path), 'utf8').split('\n'), page().split('\n')]
    const differs = wanted.findIndex((line, at) => line !== there[at])
    t.is(there[differs], wanted[differs], `line ${differs + 1}`)
    t.is(there.length, wanted.length)
  })
}

test('every protocol id in the sources is in the catalogue, and the other way round', (t) => {
  const spoken = globSync('protocols/**/*.ts', { cwd: root })
    .filter((file) => !file.endsWith('catalogue.ts'))
    .flatMap((file) => [
      ...readFileSync(join(root, file), 'utf8').matchAll(/'(\/(?:godwit|ipfs)\/[\w./]+)'/g),
    ])
    .map(([, id]) => id ?? '')
  const known = CONVERSATIONS.map(({ id }) => id)
  t.deepEqual(
    spoken.filter((id) => !known.includes(id)),
    [],
  )
  // Those of packages, and of topics, which are made with the mesh's id, stand in no literal.
  const elsewhere = new Set<string>(['library', 'multicast', 'topic'])
  t.deepEqual(
    CONVERSATIONS.filter(({ id, over }) => !spoken.includes(id) && !elsewhere.has(over)),
    [],
  )
})

test('the configuration that is shown as an example is one', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'godwit-docs-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'config.yaml')
  writeFileSync(file, CONFIG_EXAMPLE)
  const read = await readConfigFile(file)
  t.true(read.ok, JSON.stringify(read))
})

test('the VM spec that is shown as an example is one', (t) => {
  const parsed = parseSpec(SPEC_EXAMPLE, 'example')
  t.true(parsed.ok, JSON.stringify(parsed))
})

test('the VM spec of the readme is one', (t) => {
  const [, indented = ''] =
    /\n\n((?: {4}.*\n)*? {4}name: web\n(?: {4}.*\n)+)/.exec(readFileSync(join(root, 'README.md'), 'utf8')) ??
    []
  const parsed = parseSpec(indented.replaceAll(/^ {4}/gm, ''), 'readme')
  t.true(parsed.ok, JSON.stringify(parsed))
})
