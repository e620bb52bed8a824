import { expect } from 'vitest'
import type { VM } from 'withvm'
import { eventually } from '../support/eventually.js'
import { guestTest } from '../support/guest-test.js'

const test = guestTest({ image: 'tiny' })

/** Waits until the guest has printed its last boot message and its shell shows a prompt. */
async function prompt(vm: VM): Promise<void> {
  await vm.serial.waitFor(/^root@tiny:\S*# /)
  await vm.serial.waitFor(/withvm: network .*\n/)
  const from = vm.serial.mark()
  await vm.serial.press('Enter')
  await vm.serial.waitFor(/^root@tiny:\S*# /, { from })
}

test('an editor on the serial console can be operated through the screen', async ({ vm }) => {
  await prompt(vm)
  const screen = await vm.serial.screen()
  await vm.serial.type('vi /tmp/demo.txt\n')
  await screen.waitFor(/^- \/tmp\/demo\.txt/)
  await screen.waitFor(/^\n(~\n){22}- /)
  await vm.serial.type('ifirst\nsecond\nthird')
  await vm.serial.press('Escape', 'Up', 'Up')
  await vm.serial.type('Ozeroth')
  // A program draws piece by piece, so the pattern contains all text that matters.
  await screen.waitFor(/^zeroth\nfirst\nsecond\nthird\n~$/)
  await eventually(() => expect(screen.cursor).toEqual({ row: 0, column: 6 }))
  await vm.serial.press('Escape')
  await vm.serial.type(':wq\n')
  await screen.waitFor(/^root@tiny:\S*# *$/)
  expect((await vm.ssh`cat /tmp/demo.txt`).stdout).toBe('zeroth\nfirst\nsecond\nthird')
})

test('the screen shows the current state of a program that redraws itself', async ({ vm }) => {
  await prompt(vm)
  const screen = await vm.serial.screen()
  await vm.serial.type('top -d 1\n')
  await screen.waitFor(/^Mem: \d+K used, \d+K free/)
  await screen.waitFor(/^ *PID +PPID USER/)
  await vm.serial.press('q')
  await screen.waitFor(/root@tiny:\S*# *$/)
})

test('the guest reads the size of the screen with a terminal query', async ({ vm }) => {
  await prompt(vm)
  const screen = await vm.serial.screen({ columns: 100, rows: 30, replies: true })
  // As `resize` does: move the cursor to the last row and column and query its position.
  const lines = [
    'stty -icanon -echo',
    String.raw`printf '\033[999;999H\033[6n'`,
    'reply=$(dd bs=1 count=9 2>/dev/null | cat -v)',
    'stty sane; echo; echo "reply: $reply"',
  ]
  await vm.ssh(`cat >/tmp/ask <<'END'\n${lines.join('\n')}\nEND`)
  await vm.serial.type('sh /tmp/ask\n')
  await screen.waitFor('reply: ^[[30;100R')
  await vm.serial.screen({ columns: 80, rows: 24, replies: false })
  expect([screen.columns, screen.rows]).toEqual([80, 24])
})

test('serial.login() logs in at a getty with the correct password only', async ({ vm }) => {
  await prompt(vm)
  await vm.ssh`sed -i "s|^user:[*]|user:$(mkpasswd -m sha512 s3cret)|" /etc/passwd && mkdir -p /home/user`
  await vm.serial.type('exec getty -L 0 ttyS0 vt100\n')
  const error = await vm.serial.login({ user: 'user', password: 'wrong' }).catch((caught) => caught)
  expect(error.code).toBe('LOGIN_FAILED')
  await vm.serial.login({ user: 'user', password: 's3cret' })
  const from = vm.serial.mark()
  await vm.serial.type('id -un; exit\n')
  await vm.serial.waitFor(/^user\n/, { from })
})
