package awssm

// Access is how Secrets Manager is reached, as programs have it configured: their
// own type has the same fields and is converted to this one.
type Access struct {
	Region, Profile, AssumeRole, ExternalID, Endpoint string
}

// Config returns the configuration of a driver that is reached so.
func (a Access) Config() Config {
	return Config{Region: a.Region, Profile: a.Profile, AssumeRoleARN: a.AssumeRole, ExternalID: a.ExternalID, Endpoint: a.Endpoint}
}
