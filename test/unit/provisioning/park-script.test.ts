import { execFileSync, spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { buildIdentityAgent } from '../../../src/provisioning/identity-agent/program.js'
import { buildParkScript } from '../../../src/provisioning/park-script.js'

const options = {
  arch: 'x86_64',
  announcement: 'parked',
  authorizedKey: 'ssh-ed25519 AAAA',
  sshPort: 22,
  bootSeconds: 1.5,
} as const

test('the script that quiesces a guest contains the identity agent as text', () => {
  const script = buildParkScript(options).replace(/main <\/dev\/null\n$/, 'write_agent\n')
  const agent = execFileSync('sh', { input: script })
  expect(agent).toEqual(buildIdentityAgent('x86_64', { announcement: 'parked', port: 4 }))
})

test('an incomplete script that quiesces a guest does nothing', () => {
  const script = buildParkScript(options)
  for (const share of [0.3, 0.6, 0.99]) {
    const input = script.slice(0, Math.floor(script.length * share))
    expect(spawnSync('sh', { input }).stdout.toString()).not.toContain('withvm:')
  }
})

test('each line of the script is short enough for a terminal, and no key ends its quotes', () => {
  const script = buildParkScript({ ...options, authorizedKey: "ssh-ed25519 AA'; reboot #" })
  for (const line of script.split('\n')) expect(line.length).toBeLessThan(1000)
  expect(script).toContain("run_key='ssh-ed25519 AA; reboot #'")
})
