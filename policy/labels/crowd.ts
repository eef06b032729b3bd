/** Until there are so many, nobody is swept out. */
const FEW = 8;

/**
 * Those who have something, by the hundred thousand: a list that is only added to. Who leaves is only counted, and may be met for a while yet, or
 * twice after coming back; when most of those listed have left, they are swept out. For whoever looks at candidates and judges each.
 */
export class Crowd<T extends object> {
  /** One alone costs no list. */
  #members: T | T[] | undefined;
  #size = 0;

  /** How many have not left. */
  get size(): number {
    return this.#size;
  }

  /** @param member who has not, or has left */
  add(member: T): void {
    this.#size++;
    if (this.#members === undefined) this.#members = member;
    else if (Array.isArray(this.#members)) this.#members.push(member);
    else this.#members = [this.#members, member];
  }

  /** One of them has left. @param stays whether someone has not */
  leave(stays: (member: T) => boolean): void {
    if (--this.#size === 0) this.#members = undefined;
    else if (Array.isArray(this.#members) && this.#members.length > 2 * this.#size + FEW)
      this.#members = [...new Set(this.#members)].filter(stays);
  }

  /** Somebody who may have left; undefined if there is nobody. */
  get any(): T | undefined {
    return Array.isArray(this.#members) ? this.#members[0] : this.#members;
  }

  /** All of them, and some who have left or are met again; who comes meanwhile is met too. */
  each(visit: (member: T) => void): void {
    if (Array.isArray(this.#members)) for (const member of this.#members) visit(member);
    else if (this.#members !== undefined) visit(this.#members);
  }
}
