import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { generateSshKeyPair, toDropbearHostKey } from '../../../../src/channel/ssh/keys.js'
import { Redaction } from '../../../../src/vm/evidence/redaction.js'

const login = (password: string, user = 'root') =>
  new Redaction({
    identity: { keys: undefined },
    spec: { ssh: { user, guestPort: 22, login: { password } } },
  } as never)

test('keys are redacted, even with escaped line ends', () => {
  const keys = { client: generateSshKeyPair(), host: generateSshKeyPair() }
  const redaction = new Redaction({ identity: { keys }, spec: {} } as never)
  for (const { privateKey } of [keys.client, keys.host]) {
    const kept = redaction.apply(`before ${JSON.stringify(privateKey)} after`)
    for (const line of privateKey.split('\n').slice(1, -2)) expect(kept).not.toContain(line)
    expect(kept).toMatch(/^before .*\(redacted\).* after$/)
  }
})

test('a password is redacted across chunks of a stream', async () => {
  const said = Buffer.from('login with pass wörd\xff, again pass wörd')
  for (let size = 1; size < 12; size++) {
    const stream = login('pass wörd').stream()
    for (let at = 0; at < said.length; at += size) stream.write(said.subarray(at, at + size))
    stream.end()
    expect(await text(stream)).toBe('login with (redacted)\xff, again (redacted)')
  }
})

test('passwords of console logins and passphrases are redacted', () => {
  const ssh = { user: 'root', guestPort: 22, login: { privateKey: 'k', passphrase: 'open sesame' } }
  const redaction = new Redaction({
    identity: { keys: undefined },
    spec: { ssh, login: { user: 'demo', password: 'pass wörd' } },
  } as never)
  expect(redaction.apply('pass wörd, open sesame, demo')).toBe('(redacted), (redacted), demo')
})

test('passwords of VNC and SPICE and secrets of further disks are redacted', () => {
  const display = { vnc: { password: 'vnc-8391' }, spice: { password: 'spice-5172' } }
  const file = { path: '/a', format: 'luks', encryption: { secret: 'disk-9043', virtualBytes: 1 } }
  const disks = [{ content: { kind: 'image', file } }, { content: { kind: 'empty' } }]
  const redaction = new Redaction({ identity: { keys: undefined }, spec: { display, disks } } as never)
  expect(redaction.apply('vnc-8391 spice-5172 disk-9043')).toBe('(redacted) (redacted) (redacted)')
})

test('a Dropbear host key is redacted in the format of base64(1)', () => {
  const keys = { client: generateSshKeyPair(), host: generateSshKeyPair() }
  const printed = toDropbearHostKey(keys.host).toString('base64').replace(/.{76}/g, '$&\n')
  expect(new Redaction({ identity: { keys }, spec: {} } as never).apply(printed)).toBe(
    '(redacted)\n(redacted)',
  )
})

test('binary data passes through a redacting stream unchanged', async () => {
  const bytes = Buffer.from([0, 255, 254, 10, 13, 128])
  const stream = login('long enough').stream()
  stream.end(bytes)
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  expect(Buffer.concat(chunks)).toEqual(bytes)
})

test('a short, well-known password is not redacted', () => {
  expect(login('root').apply('root@tiny')).toBe('root@tiny')
  expect(login('debian', 'debian').apply('debian login:')).toBe('debian login:')
})
