/** `npm run docs` prints the pages of pages.ts; with `--check` it only names those that are stale, and ends with 1. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PAGES } from './pages.ts'

const check = process.argv.includes('--check')
const root = join(import.meta.dirname, '../..')
let stale = 0

for (const [path, page] of Object.entries(PAGES)) {
  const file = join(root, path)
  const text = page()
  if (existsSync(file) && readFileSync(file, 'utf8') === text) continue
  stale++
  if (!check) writeFileSync(file, text)
  process.stderr.write(`${path} ${check ? 'is stale: npm run docs' : 'printed'}\n`)
}

process.exitCode = check && stale > 0 ? 1 : 0
