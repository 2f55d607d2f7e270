package evidence

// chains are the subjects of the records so far.
type chains struct {
	all   []Chain
	index map[string]int // :: subject → its place in all
	last  uint64         // the sequence of the last record
	first uint64         // and of the first
}

func newChains() *chains { return &chains{index: map[string]int{}} }

// at returns the chain of a subject, nil for a subject without records.
func (c *chains) at(subject string) *Chain {
	if i, ok := c.index[subject]; ok {
		return &c.all[i]
	}
	return nil
}

// add takes the next record, and its digest.
func (c *chains) add(r *Record, digest string) {
	at := c.at(r.Subject)
	if at == nil {
		c.index[r.Subject] = len(c.all)
		c.all = append(c.all, Chain{Subject: r.Subject, First: r.Seq})
		at = &c.all[len(c.all)-1]
	}
	at.Records, at.Last, at.SHA256 = at.Records+1, r.Seq, digest
	c.last = r.Seq
	if c.first == 0 {
		c.first = r.Seq
	}
}
