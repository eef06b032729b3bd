/** How much work a call may still do, in objects, about: what does some takes it off, and stops when nothing is left. */
export interface Budget {
  left: number;
}
