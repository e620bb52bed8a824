import { expect, test } from 'vitest'
import { buildSeedDisk } from '../../../src/provisioning/cloud-init-seed.js'
import { resolveCloudInit } from '../../../src/spec/cloud-init.js'
import type { CloudInitOptions } from '../../../src/spec/options.js'

const identity = {
  hostName: 'web-1',
  instanceId: 'id',
  keys: { client: 'ssh-ed25519 CLIENT', host: { privateKey: 'PRIVATE', publicKey: 'ssh-ed25519 HOST' } },
}

const contentOf = (options: CloudInitOptions | undefined) =>
  buildSeedDisk(resolveCloudInit(options), identity).subarray(512).toString('latin1')

test('the seed disk contains the host name, the key, the host key, and enables root logins', () => {
  const content = contentOf(undefined)
  for (const piece of [
    '"instance-id": "id"',
    '"local-hostname": "web-1"',
    '"public-keys": [\n    "ssh-ed25519 CLIENT"\n  ]',
    '#cloud-config\n{\n  "disable_root": false,\n  "ssh_keys": {\n    "ed25519_private": "PRIVATE",\n    "ed25519_public": "ssh-ed25519 HOST\\n"',
  ])
    expect(content).toContain(piece)
})

test.each(['one', ['one'], { first: 'one' }, { first: ['one'] }])(
  'the key is added to the keys %j of the metadata',
  (given) => {
    const metaData = { 'public-keys': given, 'instance-id': 'chosen' }
    const content = contentOf({ metaData })
    expect(content).toContain('"public-keys": [\n    "one",\n    "ssh-ed25519 CLIENT"\n  ]')
    expect(content).toContain('"instance-id": "chosen"')
  },
)

test('user data as text is passed unchanged, an object as cloud-config; a run without keys adds none', () => {
  const userData = '#!/bin/sh\necho hello\n'
  expect(contentOf({ userData, networkConfig: 'version: 2\n' })).toContain(userData)
  expect(contentOf({ userData: { packages: ['a'] } })).toContain('#cloud-config\n{\n  "packages": [')
  const content = buildSeedDisk(resolveCloudInit({}), { ...identity, keys: undefined }).toString('latin1')
  expect(content).not.toContain('ssh_keys')
  expect(content).not.toContain('public-keys')
})
