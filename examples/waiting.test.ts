import { expect, test } from 'vitest'
import { checks, withVM } from 'withvm'

test('`vm.waitFor` waits for conditions and `vm.always` checks an invariant', async () => {
  await withVM({ image: 'tiny', hostfwd: [{ guest: 80 }] }, async (vm) => {
    // #region waiting
    await vm.ssh`mkdir /srv; echo hello >/srv/index.html; (sleep 1; httpd -h /srv) >/dev/null 2>&1 &`

    await vm.waitFor.port(80)
    await vm.waitFor.process('httpd')
    await vm.waitFor.file('/srv/index.html', { content: 'hello', owner: 'root', mode: 0o644 })
    await vm.waitFor.command('wget -q -O - 127.0.0.1', { prints: /hello/, timeout: '1m' })
    expect(await vm.waitFor.url('/')).toMatchObject({ status: 200, body: 'hello\n' })
    await vm.waitFor.all([
      checks.isMounted('/tmp', { type: 'tmpfs' }),
      checks.interfaceIsUp('eth0', { address: '10.0.2.15' }),
      (vm) => vm.ssh`test -s /etc/passwd`,
    ])
    // #endregion

    // #region always
    {
      await using _ = await vm.always('the server answers', checks.urlAnswers('/'))
      await vm.ssh`echo hello again >/srv/index.html`
      await vm.waitFor.file('/srv/index.html', { content: /again/ })
    }
    // #endregion

    // #region reboot
    const before = vm.bootCount
    await vm.serial.write('reboot\n')
    await vm.waitFor.reboot({ since: before })

    await vm.serial.write('poweroff\n')
    expect(await vm.waitFor.shutdown()).toMatchObject({ reason: 'guest-shutdown' })
    // #endregion
  })
})
