"""The core: ratings in, records, matrices, lists and evidence out. No cloud, clock or environment.

settings, fields, errors, paths, plan     what a run is asked to do; standard library only
ratings    (lines, dialect, columns, cells, parse, distinct, quarantine)   files -> checked columns
survey     (signals, pairs, split, vocabulary)   columns -> what is trained on, what is held out
encode     (negatives, records, hyperparameters)   training records; the step Encode
recordio   (source, frame, frames, tables, follow, rows, kinds, varint, pieces, ahead)   record files, both ways
factors    (artifact, unpack, foreign, mxparams)   SageMaker's FM artifact, both ways
repackage  factors -> matrices; the step Repackage
rank       (matches, seen, exact, lists)   matches -> exact lists; the step Rank
evaluate   (certificate, report)   lists -> evidence and the gate's decision; the step Evaluate
"""
