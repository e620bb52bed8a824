import { expect } from 'vitest'
import { guestTest } from '../support/guest-test.js'

const test = guestTest({ image: 'tiny' })

test('wget of tiny applies its timeout -T to the connection and to pauses of the transfer', async ({
  vm,
}) => {
  const slow = 'echo; echo; for n in 1 2 3 4 5; do echo $n; sleep 1; done'
  await vm.ssh`mkdir -p /srv/cgi-bin && echo hello >/srv/index.html && httpd -h /srv`
  await vm.ssh`printf '#!/bin/sh\n%s\n' ${slow} >/srv/cgi-bin/slow && chmod +x /srv/cgi-bin/slow`
  await vm.ssh`(sleep 100 | nc -l -p 81) >/dev/null 2>&1 &`
  await vm.waitFor.port(81)
  const wget = (args: string) => vm.ssh(`wget ${args}`, { reject: false, timeout: '1m' })

  // Without a timeout, and with the number in the same and in the next word.
  for (const options of ['-q -O -', '-qT 30 -O -', '-T30 -qO-', '--timeout=30 -qO -']) {
    expect(await wget(`${options} 127.0.0.1`), options).toMatchObject({ stdout: 'hello', exitCode: 0 })
  }
  expect(await wget('127.0.0.1/none -q -T 30')).toMatchObject({
    exitCode: 1,
    stderr: 'wget: server returned error: HTTP/1.1 404 Not Found',
  })
  expect(await wget('-q -T 5 -O - 127.0.0.1/cgi-bin/slow')).toMatchObject({ stdout: '\n1\n2\n3\n4\n5' })
  const silent = await wget('-q -T 2 -O - 127.0.0.1:81')
  expect(silent).toMatchObject({ exitCode: 1, stderr: 'wget: download timed out', stdout: '' })
  expect(silent.durationMs).toBeLessThan(30_000)
  expect(await wget('-T x 127.0.0.1')).toMatchObject({ exitCode: 1, stderr: "wget: invalid number 'x'" })
  expect((await vm.ssh`ps -o comm`).stdout).not.toContain('wget')
})
