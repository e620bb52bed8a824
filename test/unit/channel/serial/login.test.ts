import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import { openSerialPeer, type SerialPeer } from '../../../support/serial-peer.js'

let peer: SerialPeer

beforeEach(async () => {
  peer = await openSerialPeer()
})

afterEach(() => peer[Symbol.asyncDispose]())

/** Plays a getty: prints each of the texts once that many lines were typed, the line end of an answer before it. */
async function play(...texts: readonly string[]): Promise<void> {
  for (const [answers, text] of texts.entries()) {
    await vi.waitFor(() => expect(peer.typed().split('\r').length - 1).toBe(answers), { timeout: 8000 })
    peer.guest.write(text)
  }
}

test('types the user and the password, each when it is asked for', async () => {
  const getty = play(
    'Debian GNU/Linux 12\r\n\ndebian login: ',
    'root\r\nPassword: ',
    '\r\nLast login\r\nroot@debian:~# ',
  )
  await peer.serial.login({ user: 'root', password: 's3cret' })
  await getty
  expect(peer.typed()).toBe('root\rs3cret\r')
})

test('needs no password where none is asked for', async () => {
  const getty = play('alpine login: ', 'root\r\nWelcome\r\nalpine:~# ')
  await peer.serial.login({ user: 'root', password: 'unused' })
  await getty
  expect(peer.typed()).toBe('root\r')
})

test('sees prompts through kernel messages', async () => {
  const getty = play(
    'tiny login: [   12.3] random: crng init done\r\n\n',
    '\r\ntiny login: ',
    'root\r\nPassword: [   20.1] eth0: link becomes ready\r\n',
    '\r\n# ',
  )
  await peer.serial.login({ user: 'root', password: 'x' })
  await getty
  // The first Enter asks for a prompt that is not under messages.
  expect(peer.typed()).toBe('\rroot\rx\r')
}, 20_000)

test('takes a prompt of the author', async () => {
  const getty = play('login: ', 'u\r\nPassword: ', '\r\n50%\r\n> not yet\r\n')
  const login = peer.serial.login({ user: 'u', password: 'p', prompt: /^ready: $/g })
  await getty
  await sleep(400)
  peer.guest.write('ready: ')
  await login
})

test('rejects at once when the guest refuses, without the password in its message', async () => {
  const getty = play('tiny login: ', 'root\r\nPassword: ', '\r\nLogin incorrect\r\ntiny login: ')
  const error = await peer.serial.login({ user: 'root', password: 's3cret' }).catch((caught) => caught)
  await getty
  expect(error).toMatchObject({ code: 'LOGIN_FAILED', kind: 'guest' })
  expect(error.message).toBe(
    [
      'the serial console did not let "root" in',
      '  Got:      a refusal',
      '',
      'Serial console since then:',
      '  | tiny login: root',
      '  | Password: ',
      '  | Login incorrect',
      '  | tiny login:',
      '',
      'Fix: Check user and password; `login` may also refuse root on a terminal that /etc/securetty does not name.',
    ].join('\n'),
  )
})

test('rejects when a password is asked for that nobody gave', async () => {
  const getty = play('tiny login: ', 'root\r\nPassword: ')
  await expect(peer.serial.login({ user: 'root' })).rejects.toThrow(
    /a question for a password that is not known(.|\n)*Fix: Give `password`/,
  )
  await getty
})

/** Answers each line that is typed by what stands beside it. */
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

test('a shell of that user that is there already will do, one of another is told', async () => {
  peer.guest.write('Welcome\r\nroot@tiny:/# ')
  answer({ 'echo withvm-"shell" `id -un`': 'withvm-shell root\r\nroot@tiny:/# ' })
  expect(await peer.serial.login({ user: 'root' })).toEqual({ wasLoggedIn: true })
  const error = await peer.serial.login({ user: 'demo' }).catch((caught) => caught)
  expect(error.message).toMatch(
    /^the serial console did not let "demo" in\n {2}Got: {6}a shell of "root"\n(?:.|\n)*Fix: Nobody has to log in there: give `user: 'root'`, or end that shell first\.$/,
  )
})

test('a question in another language is a login prompt when Enter brings it again, and what comes next asks for the password', async () => {
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

test('ends with its guest and with its signal', async () => {
  const login = peer.serial.login({ user: 'root' })
  peer.serial.interrupt(new Error('the guest panicked'))
  await expect(login).rejects.toThrow('the guest panicked')
  peer.serial.resume()
  await expect(peer.serial.login({ user: 'root', signal: AbortSignal.timeout(30) })).rejects.toThrow(
    /timeout/,
  )
})

test('does not begin with what it cannot type', async () => {
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

test('a refusal is seen after the echo of the answer has passed out of sight', async () => {
  const getty = play('tiny login: ', `root\r\n${'motd\r\n'.repeat(10_000)}Your account is locked\r\n`)
  const error = await peer.serial.login({ user: 'root', timeout: '15s' }).catch((caught: unknown) => caught)
  await getty
  expect(error).toMatchObject({ code: 'LOGIN_FAILED' })
}, 20_000)
