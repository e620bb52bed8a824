import { generateKeyPairSync } from 'node:crypto'
import { expect, test } from 'vitest'
import { generateSshKeyPair } from '../../../../src/channel/ssh/keys.js'
import type { VMOptions } from '../../../../src/spec/options.js'
import { resolveSpec } from '../../../../src/spec/resolve/resolve-spec.js'
import { requireShortKey } from '../../../../src/vm/power/save-checks.js'
import { failureOf } from '../../../support/failure-of.js'
import { SAMPLE_IMAGE } from '../../../support/sample-machine.js'

const check = (options: VMOptions) => requireShortKey(resolveSpec(options, SAMPLE_IMAGE))

const rsa = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
}).privateKey

test.each<[string, VMOptions]>([
  ['without a login', {}],
  ['with a password', { ssh: { password: 'secret' } }],
  ['without SSH', { ssh: false }],
  ['with an Ed25519 key', { ssh: { privateKey: generateSshKeyPair().privateKey } }],
  ['that is an exact copy', { start: 'warm', identity: 'shared', ssh: { privateKey: rsa } }],
])('the key of a guest %s can be given to clones', async (_, options) => {
  await check(options)
})

test('a public key that is too long for clones is reported before a guest boots for a template', async () => {
  const error = await failureOf(check({ ssh: { privateKey: rsa } }))
  expect(
    error.message,
  ).toBe(`The public key of \`ssh.privateKey\` has 380 characters, more than a clone can receive.
Fix: Use an Ed25519 or ECDSA key, or omit \`ssh.privateKey\`.`)
})
