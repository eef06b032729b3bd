import { OperationalError } from '#core';
import { answer } from '../flow/answer.ts';
import { readCluster } from '../flow/cluster.ts';
import { ClusterReader } from '../flow/cluster-reader.ts';
import { findEnds } from '../flow/find-ends.ts';
import { type PacketFlags, readPacketKind } from '../flow/kind-of-packet.ts';
import { showAnswer } from '../flow/show-answer.ts';
import { readWanted } from '../flow/wanted.ts';
import { parseFormat, printData } from '../output.ts';
import { type Session, withStore } from '../session.ts';

export interface ExplainOptions extends PacketFlags {
  readonly from?: string;
  readonly to?: string;
  readonly namespace?: string;
  readonly output?: string;
}

/** `explain`: whether policy lets a new connection pass, and which rule says so. The question answered is success, whatever the verdict. */
export async function explain(session: Session, options: ExplainOptions): Promise<number> {
  const { type } = parseFormat(options.output, ['table', 'wide', 'yaml', 'json']);
  const { from, to, namespace } = options;
  if (!from || !to)
    throw new OperationalError(
      'CONFIG',
      `${from ? '--to' : '--from'} is needed: a workload as namespace/pod, a node, a host endpoint or an address`,
    );
  const kind = readPacketKind(options);
  const wanted = [readWanted('--from', from, namespace), readWanted('--to', to, namespace)] as const;
  return withStore(session, async (store) => {
    const reader = new ClusterReader(store, session.io);
    const ends = await findEnds(reader, wanted, kind);
    const cluster = await readCluster(reader, ends);
    reader.finish();
    const answered = answer(ends, kind, cluster);
    if (type === 'json' || type === 'yaml') await printData(session.io, type, answered);
    else showAnswer(session.io, answered, cluster.resources, type === 'wide');
    return 0;
  });
}
