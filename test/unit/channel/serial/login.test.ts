import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest'
import { eventually } from '../../../support/eventually.js'
import { openSerialPeer, type SerialPeer } from '../../../support/serial-peer.js'

let peer: SerialPeer

beforeEach(async () => {
  peer = await openSerialPeer()
})

afterEach(() => peer[Symbol.asyncDispose]())

/** Simulates a getty: prints each text after one more line was typed, preceded by a line end. */
async function play(...texts: readonly string[]): Promise<void> {
  for (const [answers, text] of texts.entries()) {
    await eventually(() => expect(peer.typed().split('\r').length - 1).toBe(answers))
    peer.guest.write(text)
  }
}

test('`login()` types user and password at their prompts', async () => {
  const getty = play(
    'Debian GNU/Linux 12\r\n\ndebian login: ',
    'root\r\nPassword: ',
    '\r\nLast login\r\nroot@debian:~# ',
  )
  await peer.serial.login({ user: 'root', password: 's3cret' })
  await getty
  expect(peer.typed()).toBe('root\rs3cret\r')
})

test('`login()` succeeds without a password if the guest asks for none', async () => {
  const getty = play('alpine login: ', 'root\r\nWelcome\r\nalpine:~# ')
  await peer.serial.login({ user: 'root', password: 'unused' })
  await getty
  expect(peer.typed()).toBe('root\r')
})

test('`login()` finds prompts between kernel messages', async () => {
  const getty = play(
    'tiny login: [   12.3] random: crng init done\r\n\n',
    '\r\ntiny login: ',
    'root\r\nPassword: [   20.1] eth0: link becomes ready\r\n',
    '\r\n# ',
  )
  await peer.serial.login({ user: 'root', password: 'x' })
  await getty
  // The first Enter requests a prompt that is not followed by kernel messages.
  expect(peer.typed()).toBe('\rroot\rx\r')
}, 20_000)

test('`login()` accepts a custom shell prompt', async () => {
  const getty = play('login: ', 'u\r\nPassword: ', '\r\n50%\r\n> not yet\r\n')
  const login = peer.serial.login({ user: 'u', password: 'p', prompt: /^ready: $/g })
  await getty
  await sleep(400)
  peer.guest.write('ready: ')
  await login
})

test('`login()` rejects at once on a rejected login, without the password in the message', async () => {
  const getty = play('tiny login: ', 'root\r\nPassword: ', '\r\nLogin incorrect\r\ntiny login: ')
  const error = await peer.serial.login({ user: 'root', password: 's3cret' }).catch((caught) => caught)
  await getty
  expect(error).toMatchObject({ code: 'LOGIN_FAILED', kind: 'guest' })
  expect(error.message).toBe(
    [
      'The login of "root" on the serial console failed.',
      '  Got:      a rejected login',
      '',
      'Serial console since the login started:',
      '  | tiny login: root',
      '  | Password: ',
      '  | Login incorrect',
      '  | tiny login:',
      '',
      'Fix: Check user and password. `login` also rejects root on a terminal that is not listed in /etc/securetty.',
    ].join('\n'),
  )
})

test('`login()` rejects when the guest asks for a password and none is specified', async () => {
  const getty = play('tiny login: ', 'root\r\nPassword: ')
  await expect(peer.serial.login({ user: 'root' })).rejects.toThrow(
    /a prompt for a password that was not specified(.|\n)*Fix: Specify `password`/,
  )
  await getty
})

/** Replies to each typed line with its value in `replies`. */
function answer(replies: Readonly<Record<string, string>>) {
  const seen = { upTo: 0 }
  const timer = setInterval(() => {
    const typed = peer.typed()
    const line = typed.slice(seen.upTo).split('\r', 1)[0] ?? ''
    if (typed.length <= seen.upTo + line.length) return
    seen.upTo += line.length + 1
    peer.guest.write(`${line}\r\n${replies[line] ?? ''}`)
  }, 10)
  onTestFinished(() => clearInterval(timer))
}

test('`login()` accepts an existing shell of the user and rejects one of another user', async () => {
  peer.guest.write('Welcome\r\nroot@tiny:/# ')
  answer({ 'echo withvm-"shell" `id -un`': 'withvm-shell root\r\nroot@tiny:/# ' })
  expect(await peer.serial.login({ user: 'root' })).toEqual({ wasLoggedIn: true })
  const error = await peer.serial.login({ user: 'demo' }).catch((caught) => caught)
  expect(error.message).toMatch(
    /^The login of "demo" on the serial console failed: another user is logged in\.\n {2}Got: {6}a shell of "root"\n(?:.|\n)*Fix: Log in as `user: 'root'`, or end that shell first\.$/,
  )
})

test('`login()` detects prompts in other languages: Enter repeats the login prompt, and the next one is for the password', async () => {
  peer.guest.write('Willkommen\r\nrechner Anmeldung: ')
  answer({
    '': 'rechner Anmeldung: ',
    demo: 'Passwort: ',
    geheim: 'Falsch\r\nrechner Anmeldung: ',
    richtig: 'demo@rechner:~$ ',
  })
  const error = await peer.serial.login({ user: 'demo', password: 'geheim' }).catch((caught) => caught)
  expect(error.code).toBe('LOGIN_FAILED')
  expect(await peer.serial.login({ user: 'demo', password: 'richtig' })).toEqual({ wasLoggedIn: false })
}, 30_000)

test('`login()` ends with its guest and with its signal', async () => {
  const login = peer.serial.login({ user: 'root' })
  peer.serial.interrupt(new Error('the guest panicked'))
  await expect(login).rejects.toThrow('the guest panicked')
  peer.serial.resume()
  await expect(peer.serial.login({ user: 'root', signal: AbortSignal.timeout(30) })).rejects.toThrow(
    /timeout/,
  )
})

test('`login()` rejects invalid options before it types anything', async () => {
  for (const options of [
    { user: '' },
    { user: 'a\nb' },
    { user: 'a', password: 'x\r' },
    { user: 'a', timeout: 0 },
  ]) {
    await expect(peer.serial.login(options)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
  }
  expect(peer.typed()).toBe('')
})

test('a guest that prints 256 KiB of "account" without a line end does not block a login', async () => {
  const getty = play('tiny login: ', `root\r\n${'account '.repeat(32_768)}\r\n# `)
  await peer.serial.login({ user: 'root', password: 'unused', timeout: '15s' })
  await getty
}, 20_000)

test('`login()` detects a rejected login after much output following the answer', async () => {
  const getty = play('tiny login: ', `root\r\n${'motd\r\n'.repeat(10_000)}Your account is locked\r\n`)
  const error = await peer.serial.login({ user: 'root', timeout: '15s' }).catch((caught: unknown) => caught)
  await getty
  expect(error).toMatchObject({ code: 'LOGIN_FAILED' })
}, 20_000)
