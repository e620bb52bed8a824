import { expect, test } from 'vitest'
import { findOptionProblems } from '../../../src/spec/validate-options.js'

const problems = (options: unknown) =>
  findOptionProblems(options).map(({ path, got, expected }) => `${path}: got ${got}; expected ${expected}`)

const EXPECTED =
  "expected an object, YAML that starts with '#cloud-config', or text that starts with '#!' or another header of cloud-init; this is"

test.each([
  { packages: ['nginx'] },
  '#cloud-config\npackages: [nginx]\n',
  '#cloud-config\n',
  '#!/bin/sh\ntrue\n',
  '## template: jinja\n#cloud-config\n{% if x %}\na: b\n{% endif %}\n',
  'Content-Type: multipart/mixed; boundary="b"\n\n--b--\n',
  Buffer.from([0x1f, 0x8b, 8, 0]),
])('%j is valid user data', (userData) => {
  expect(problems({ cloudInit: { userData } })).toEqual([])
})

test('user data without a header is rejected, because cloud-init would ignore it silently', () => {
  expect(problems({ cloudInit: { userData: 'packages: [nginx]\n' } })).toEqual([
    `cloudInit.userData: got "packages: [nginx]\n"; ${EXPECTED} text that starts with "packages: [nginx]\\n"`,
  ])
})

test('invalid YAML is rejected with line and column', () => {
  expect(problems({ cloudInit: { userData: '#cloud-config\npackages:\n  - nginx\n bad: 1\n' } })[0]).toMatch(
    /this is .+ at line 4, column \d+$/,
  )
  expect(problems({ cloudInit: { userData: '#cloud-config\n- nginx\n' } })[0]).toMatch(
    /this is a list or a single value$/,
  )
  expect(problems({ cloudInit: { metaData: 'a: [', networkConfig: '- 1' } })).toEqual([
    expect.stringMatching(
      /^cloudInit\.metaData: got "a: \["; expected meta data as an object or YAML; this is .+ at line 1/,
    ),
    'cloudInit.networkConfig: got "- 1"; expected a network configuration as an object or YAML; this is a list or a single value',
  ])
})

test('`login`, `ssh`, `ready` and `cloudInit` that conflict are rejected', () => {
  const login = { user: 'demo', password: 'x' }
  expect(problems({ login, ssh: { user: 'root' } })).toEqual([])
  expect(problems({ login, ssh: false, ready: 'login' })).toEqual([])
  expect(problems({ login: { password: 'x' } })).toEqual([
    'login.user: got nothing; expected a user name on one line',
  ])
  expect(problems({ login, ready: 'agent' })).toEqual([
    "ready: got \"agent\" together with `login`; expected 'ssh', 'cloud-init' or 'login'",
  ])
  expect(problems({ ready: 'login' })).toEqual([
    "ready: got 'login'; expected `login` and `ssh: false` to be set too (the serial console then stays logged in)",
  ])
  expect(problems({ ready: 'cloud-init', cloudInit: false })).toEqual([
    "ready: got 'cloud-init' together with `cloudInit: false`; expected another condition, or no `cloudInit: false`",
  ])
  expect(problems({ ready: 'cloud-init', ssh: false })).toEqual([
    "ready: got 'cloud-init' together with `ssh: false`; expected 'agent', 'none', a RegExp or a function",
  ])
  expect(problems({ ssh: { passphrase: 'x' } })).toEqual([
    'ssh.passphrase: got a passphrase; expected `ssh.privateKey` to be set too (the key to decrypt)',
  ])
})
