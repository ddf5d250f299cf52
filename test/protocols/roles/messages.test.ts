import { rolesAnswer, rolesAsk } from '../../../protocols/roles/messages.ts'
import { copyAnswer, copyAsk } from '../../../protocols/roles/copy-messages.ts'
import { golden, sturdy } from '../golden.ts'

const peer = '12D3KooWGRUfRXhE1dbyw4RZaQzmBhGN4fLBnJQpGZQcP9mLsU1T'
const member = `${peer}#1k2m3n4p5q`
const candidate = {
  kind: 'candidate' as const,
  member,
  uplink: 'mast',
  uptimeMs: 86_400_000,
  power: 'battery' as const,
  noVote: false,
  leaving: true,
  rttMs: { [peer]: 12.5 },
}

golden('roles-candidate-ask', rolesAsk, { kind: 'candidate', group: 'mesh', to: [peer] })
golden('roles-leaving-ask', rolesAsk, { kind: 'leaving', group: 'site/north', member })
golden('roles-candidate-answer', rolesAnswer, candidate)
golden('roles-leaving-answer', rolesAnswer, { kind: 'leaving', votes: true, stays: false })
sturdy('roles candidate', rolesAnswer, candidate)

const offer = { keeps: true, hasRoom: false, uplink: 'mast', uptimeMs: 86_400_000, power: 'mains' as const }
golden('copies-offer-ask', copyAsk, { kind: 'offer', group: 'site/north' })
golden('copies-keep-ask', copyAsk, { kind: 'keep', group: 'site/north' })
golden('copies-answer', copyAnswer, offer)
sturdy('copies answer', copyAnswer, offer)
