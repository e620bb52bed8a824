/** Records a problem: path of the option, actual and expected value. */
export type Report = (path: string, got: string, expected: string) => void
